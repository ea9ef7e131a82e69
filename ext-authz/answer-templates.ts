import { type Answer, encodeAnswer } from "./answer.ts";

/** An encoded answer with the places of its decision id. */
interface Template {
  readonly bytes: Uint8Array;
  readonly places: readonly number[];
  readonly idLength: number;
}

/** Ids that every part of an answer (header, JSON, gRPC message) holds as they are. */
const PLAIN_ID = /^[0-9A-Za-z-]{1,64}$/;

/** Ways of answering by one verdict that are kept. */
const VARIANTS = 16;

/**
 * Encoded answers by the verdict that they follow from: those of one verdict differ in nothing but the decision id. A
 * template is found by encoding twice, with ids that have no character in common, so it holds whatever the encoding is.
 */
export class AnswerTemplates {
  readonly #templates = new WeakMap<object, Map<string, Template>>();

  /**
   * @param verdict  what the answer follows from, together with
   * @param variant  whatever else it depends on
   * @param make  the answer with a certain id
   */
  encode(verdict: object, variant: string, decisionId: string, make: (decisionId: string) => Answer): Uint8Array {
    const known = this.#templates.get(verdict)?.get(variant);
    if (known !== undefined && known.idLength === decisionId.length && PLAIN_ID.test(decisionId)) {
      return filled(known, decisionId);
    }
    const bytes = encodeAnswer(make(decisionId));
    if (PLAIN_ID.test(decisionId)) this.#keep(verdict, variant, decisionId.length, make);
    return bytes;
  }

  #keep(verdict: object, variant: string, idLength: number, make: (decisionId: string) => Answer): void {
    const bytes = encodeAnswer(make("0".repeat(idLength)));
    const other = encodeAnswer(make("x".repeat(idLength)));
    if (bytes.length !== other.length) return;
    const places: number[] = [];
    for (let at = 0; at < bytes.length; at += 1) {
      if (bytes[at] === other[at]) continue;
      places.push(at);
      at += idLength - 1;
    }
    let variants = this.#templates.get(verdict);
    if (variants === undefined) {
      variants = new Map();
      this.#templates.set(verdict, variants);
    }
    if (variants.size < VARIANTS) variants.set(variant, { bytes, places, idLength });
  }
}

function filled({ bytes, places }: Template, decisionId: string): Uint8Array {
  const answer = Buffer.allocUnsafe(bytes.length);
  answer.set(bytes);
  for (const place of places) answer.write(decisionId, place, "latin1");
  return answer;
}
