/** Something to see in the quick start. */
export interface ToTry {
  readonly what: string;
  /** Shell commands, one a line. */
  readonly commands: readonly string[];
}

/**
 * What `npm start` shows to try.
 *
 * @param gateway  port of the gateway
 * @param newest  port of the stand-in that serves the newest version
 */
export function commandsToTry(gateway: number, newest: number): readonly ToTry[] {
  const json = "-H 'content-type: application/json'";
  const ask = (key: string, model: string): string =>
    `curl -s localhost:${gateway}/v1/chat/completions -H 'authorization: Bearer ${key}' ${json} ` +
    `-d '{"model":"${model}","messages":[{"role":"user","content":"hello"}]}'`;
  const behave = (behaviour: string): string => `curl -s localhost:${newest}/__behaviour ${json} -d '${behaviour}'`;
  const atlas = ask("demo-key-eu-assistant", "atlas");
  return [
    { what: "an EU application is answered by an EU model", commands: [atlas] },
    {
      what: "it asks for a model that runs in the US only: an approved one answers",
      commands: [ask("demo-key-eu-assistant", "orion")],
    },
    {
      what: "an application without approvals is refused, and told why",
      commands: [ask("demo-key-unapproved-lab", "atlas")],
    },
    {
      what: "the newest version fails: the older approved one answers; then the newest is well again",
      commands: [behave('{"status":503}'), atlas, behave("{}")],
    },
    {
      what: "the plain service, by its weights",
      commands: [`for i in $(seq 20); do curl -s localhost:${gateway}/shop | cut -c-25; done | sort | uniq -c`],
    },
  ];
}
