import { keepHeapSmall } from "../../../cli/small-heap.ts";

/** Our xDS server behind the control contract of the benchmark (README.md), with the heap of `chancery xds`. */
keepHeapSmall();
await import("./contract.ts");
