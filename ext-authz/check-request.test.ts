import { describe, expect, it } from "vitest";
import { decodeCheck } from "./check-request.ts";
import { check, checkBytes } from "./fixtures.ts";

describe("decodeCheck", () => {
  it("does not take bytes that are no check, or a check without raw headers", () => {
    expect(decodeCheck(new Uint8Array())).toBeUndefined();
    expect(decodeCheck(Buffer.from("garbage"))).toBeUndefined();
    expect(decodeCheck(checkBytes({ rawHeaders: false }))).toBeUndefined();
  });

  it.each([
    ["application/grpc", "application/grpc"],
    ["application/grpc+proto", "application/grpc+proto"],
    ["Application/gRPC; charset=x", "application/grpc"],
    ["application/grpc-web+proto", "application/grpc-web+proto"],
    ["application/grpcx", undefined],
    ["application/json", undefined],
    ["application/grpc+a\r\nb", undefined],
  ])("sees whether %j is gRPC", (type, grpc) => {
    expect(check({ headers: [["content-type", type]] }).grpc).toBe(grpc);
  });
});
