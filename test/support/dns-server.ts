import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";

/** One record of a name. TTL in seconds. */
export type DnsRecord =
  | { readonly type: "A" | "AAAA"; readonly address: string; readonly ttl?: number }
  | {
      readonly type: "SRV";
      readonly target: string;
      readonly port: number;
      readonly priority?: number;
      readonly weight?: number;
      readonly ttl?: number;
    };

/** A name server on loopback that answers from a table, over UDP. */
export interface DnsServer {
  /** "127.0.0.1:PORT" */
  readonly address: string;
  /** Replaces the records of a name. */
  set(name: string, records: readonly DnsRecord[]): void;
  /** Answers nothing (it is dead), or SERVFAIL, or from its table again. */
  behave(how: "silent" | "failing" | "well"): void;
  /** Questions so far, as "A shop.test". */
  questions(): readonly string[];
  close(): Promise<void>;
}

const CODES = { A: 1, AAAA: 28, SRV: 33 } as const;
const SERVFAIL = 2;
const NXDOMAIN = 3;

export async function startDnsServer(): Promise<DnsServer> {
  const table = new Map<string, readonly DnsRecord[]>();
  const asked: string[] = [];
  let behaviour: "silent" | "failing" | "well" = "well";
  const socket: Socket = createSocket("udp4");
  socket.on("message", (message, { port, address }) => {
    const question = readQuestion(message);
    const type = Object.entries(CODES).find(([, code]) => code === question.type)?.[0] ?? String(question.type);
    asked.push(`${type} ${question.name}`);
    if (behaviour === "silent") return;
    const records = behaviour === "failing" ? undefined : table.get(question.name);
    const code = behaviour === "failing" ? SERVFAIL : records === undefined ? NXDOMAIN : 0;
    const answers = (records ?? []).filter((record) => record.type === type);
    const header = Buffer.alloc(12);
    message.copy(header, 0, 0, 2);
    // An answer, authoritative, with recursion.
    header.writeUInt16BE(0x8580 | code, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(answers.length, 6);
    socket.send(Buffer.concat([header, question.bytes, ...answers.map(encodeRecord)]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${socket.address().port}`,
    set: (name, records) => void table.set(name, records),
    behave: (how) => {
      behaviour = how;
    },
    questions: () => asked,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** The one question of a query, with its bytes. */
function readQuestion(message: Buffer): { readonly name: string; readonly type: number; readonly bytes: Buffer } {
  const labels: string[] = [];
  let at = 12;
  for (let length = message.readUInt8(at); length > 0; length = message.readUInt8(at)) {
    labels.push(message.toString("ascii", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return {
    name: labels.join(".").toLowerCase(),
    type: message.readUInt16BE(at + 1),
    bytes: message.subarray(12, at + 5),
  };
}

function encodeRecord(record: DnsRecord): Buffer {
  const data = record.type === "SRV" ? srvData(record) : addressBytes(record.address);
  const head = Buffer.alloc(12);
  // The name is that of the question.
  head.writeUInt16BE(0xc00c, 0);
  head.writeUInt16BE(CODES[record.type], 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt32BE(record.ttl ?? 1, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function srvData({ priority = 0, weight = 1, port, target }: Extract<DnsRecord, { type: "SRV" }>): Buffer {
  const numbers = Buffer.alloc(6);
  for (const [index, value] of [priority, weight, port].entries()) numbers.writeUInt16BE(value, 2 * index);
  const labels = target.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([numbers, ...labels, Buffer.from([0])]);
}

function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split(".").map(Number));
  const [before = "", after = ""] = address.split("::");
  const groups = (text: string) => text.split(":").filter((group) => group !== "");
  const [head, tail] = [groups(before), groups(after)];
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => "0");
  const all = [...head, ...zeros, ...tail].map((group) => Number.parseInt(group, 16));
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}
