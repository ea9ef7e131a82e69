import { expect, test } from "vitest";
import { Deadlines } from "./deadlines.ts";

test("tells of what is still there when its time comes, in the order of the times", async () => {
  const late: string[] = [];
  await new Promise<void>((resolve) => {
    const started = performance.now();
    const deadlines = new Deadlines<{ readonly name: string; readonly due: number }>(
      () => performance.now(),
      ({ name, due }) => {
        expect(performance.now()).toBeGreaterThanOrEqual(due);
        late.push(name);
        if (name === "first") deadlines.add({ name: "added while another was late", due: started + 30 });
        if (name.startsWith("added")) resolve();
      },
    );
    const gone = { name: "gone", due: started + 2 };
    deadlines.add({ name: "first", due: started + 1 });
    deadlines.add(gone);
    deadlines.add({ name: "second", due: started + 20 });
    deadlines.delete(gone);
    // The timer does not keep the process: something else must.
    const alive = setInterval(() => late.length === 3 && clearInterval(alive), 1);
  });
  expect(late).toEqual(["first", "second", "added while another was late"]);
});
