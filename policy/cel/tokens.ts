import { nextToken, type Token } from "./scan.ts";

/** Ends a parse; does not leave `parse.ts`. */
export class SyntaxProblem extends Error {
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/** The words of a text, one after the other, the next one in view. */
export class Tokens {
  readonly source: string;
  #next: Token;

  constructor(source: string) {
    this.source = source;
    this.#next = nextToken(source, 0);
  }

  get next(): Token {
    return this.#next;
  }

  advance(): Token {
    const token = this.#next;
    this.#next = nextToken(this.source, token.end);
    return token;
  }

  at(operator: string): boolean {
    return this.#next.kind === "op" && this.#next.text === operator;
  }

  take(operator: string): boolean {
    if (!this.at(operator)) return false;
    this.advance();
    return true;
  }

  need(operator: string): void {
    if (!this.take(operator)) this.unexpected(`"${operator}"`);
  }

  /** @throws SyntaxProblem */
  unexpected(wanted: string): never {
    const token = this.#next;
    if (token.kind === "problem") throw new SyntaxProblem(token.text, token.offset);
    const found = token.kind === "end" ? token.text : `"${this.source.slice(token.offset, token.end)}"`;
    throw new SyntaxProblem(`unexpected ${found}: ${wanted} is needed`, token.offset);
  }
}
