import type { Bus } from "./bus.ts";

/** A bus whose methods can be replaced one by one. */
export function delegate(to: Bus): Bus {
  return {
    putBlob: (digest, bytes) => to.putBlob(digest, bytes),
    getBlob: (digest) => to.getBlob(digest),
    publishHead: (head, expected) => to.publishHead(head, expected),
    head: () => to.head(),
    watchHead: (listener) => to.watchHead(listener),
    report: (report) => to.report(report),
    watchReports: (listener) => to.watchReports(listener),
    putRestriction: (entry) => to.putRestriction(entry),
    restrictions: () => to.restrictions(),
    watchRestrictions: (listener) => to.watchRestrictions(listener),
    log: to.log,
    close: () => to.close(),
  };
}
