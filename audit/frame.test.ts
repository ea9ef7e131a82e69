import { expect, it } from "vitest";
import {
  chainHash,
  encodeHeader,
  FRAME_BYTES,
  GENESIS,
  HEADER_BYTES,
  MAX_PAYLOAD_BYTES,
  scanSegment,
  writeFrame,
} from "./frame.ts";

const header = encodeHeader({ first: 1, previous: GENESIS });

function frame(payload: Uint8Array = Buffer.from("a")): Buffer {
  const bytes = Buffer.alloc(FRAME_BYTES + payload.length);
  writeFrame(bytes, 0, { sequence: 1, hash: chainHash(GENESIS, 1, payload), payload });
  return bytes;
}

it("finds frames behind a header that cannot be read, which is no damage among them", () => {
  const broken = Buffer.from(header);
  broken.write("X");
  const { header: read, frames, damages, end } = scanSegment(Buffer.concat([broken, frame()]));
  expect(read).toBeUndefined();
  expect(frames.map(({ offset }) => offset)).toEqual([HEADER_BYTES]);
  expect(damages).toEqual([]);
  expect(end).toBe(0);
});

it("says that nothing intact stands in what is no segment", () => {
  expect(scanSegment(Buffer.alloc(200, "x")).damages).toEqual([{ offset: 0, resumedAt: undefined }]);
});

it("takes a payload of the largest size, and none beyond it", () => {
  const largest = scanSegment(Buffer.concat([header, frame(new Uint8Array(MAX_PAYLOAD_BYTES))]));
  expect(largest.damages).toEqual([]);
  expect(largest.frames).toHaveLength(1);
  const larger = scanSegment(Buffer.concat([header, frame(new Uint8Array(MAX_PAYLOAD_BYTES + 1))]));
  expect(larger.frames).toEqual([]);
  expect(larger.damages).toEqual([{ offset: HEADER_BYTES, resumedAt: undefined }]);
});
