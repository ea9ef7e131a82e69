/**
 * In: `RevisionParts`. Out: signed, content-addressed revisions, and verified ones read back. Promises: nothing unsigned
 * where a trust file is given, nothing older than what is in force, the last good one survives everything.
 */
export * from "./revision.ts";
