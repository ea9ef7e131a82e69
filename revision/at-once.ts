/**
 * Calls `work` with 0 to `count` - 1, several at a time. After a failure no more are begun; it is thrown when those that
 * were have ended.
 *
 * @param limit  how many at a time
 */
export async function eachOf(count: number, limit: number, work: (index: number) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count && failures.length === 0) {
      const index = next;
      next += 1;
      try {
        await work(index);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, limit) }, worker));
  if (failures.length > 0) throw failures[0];
}
