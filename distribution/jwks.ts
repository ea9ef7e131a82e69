import { createHash } from "node:crypto";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { join, resolve, sep } from "node:path";
import { z } from "zod";
import { type Jwks, jwksSource } from "../compiler/index.ts";
import { ChanceryError, type JwtIdentity } from "../resources/index.ts";
import { ensureDirectory } from "../revision/index.ts";

export interface JwksReader {
  /**
   * The documents of the issuers, by source. A source that cannot be had now gives its last
   * good document; one that was never had is left out, and its issuer's tokens are refused.
   */
  read(identities: readonly Pick<JwtIdentity, "jwks">[]): Promise<Jwks>;
  /** Stops refreshing. */
  close(): void;
}

export interface JwksReaderOptions {
  /** Root of the resource tree: JWKS files are relative to it. */
  readonly root: string;
  /** Where the last good documents of URLs are kept, over restarts. */
  readonly cacheDirectory: string;
  readonly fetch: typeof globalThis.fetch;
  /** Time between looks at files and URLs, in milliseconds. */
  readonly fileIntervalMs: number;
  readonly urlIntervalMs: number;
  /** Called when a document that was read before has changed. */
  readonly onChange: () => void;
  /** Called with what went wrong; the last good document stays. */
  readonly onFailure: (source: string, error: ChanceryError) => void;
}

const MAX_BYTES = 1_048_576;
const FETCH_TIMEOUT_MS = 5_000;

/** RFC 7517 section 5. Only what must hold for the document to be of use; Envoy reads the keys themselves. */
const jwksSchema = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) });

/** Reads the keys of token issuers for the compiler. */
export function createJwksReader(options: JwksReaderOptions): JwksReader {
  const known = new Map<string, { jwks: JwtIdentity["jwks"]; document: string }>();
  const timers = [
    setInterval(() => void refresh("file"), options.fileIntervalMs),
    setInterval(() => void refresh("url"), options.urlIntervalMs),
  ];
  for (const timer of timers) timer.unref();
  let refreshing = false;

  async function refresh(kind: "file" | "url"): Promise<void> {
    if (refreshing) return;
    refreshing = true;
    try {
      let changed = false;
      for (const [source, entry] of known) {
        if (!(kind in entry.jwks)) continue;
        const document = await obtain(entry.jwks, options);
        if (document instanceof ChanceryError) options.onFailure(source, document);
        else if (document !== entry.document) {
          known.set(source, { jwks: entry.jwks, document });
          changed = true;
        }
      }
      if (changed) options.onChange();
    } finally {
      refreshing = false;
    }
  }

  return {
    async read(identities) {
      const wanted = new Map(identities.map(({ jwks }) => [jwksSource(jwks), jwks]));
      for (const source of known.keys()) if (!wanted.has(source)) known.delete(source);
      await Promise.all(
        [...wanted].map(async ([source, jwks]) => {
          // A URL is asked once and then refreshed by the timer, so that a slow issuer never holds up a policy change.
          if ("url" in jwks && known.has(source)) return;
          const document = await obtain(jwks, options);
          if (!(document instanceof ChanceryError)) {
            known.set(source, { jwks, document });
            return;
          }
          options.onFailure(source, document);
          const last = "url" in jwks ? await lastGood(source, options) : undefined;
          if (last !== undefined) known.set(source, { jwks, document: last });
        }),
      );
      return new Map([...known].map(([source, entry]) => [source, entry.document]));
    },
    close() {
      for (const timer of timers) clearInterval(timer);
    },
  };
}

async function obtain(jwks: JwtIdentity["jwks"], options: JwksReaderOptions): Promise<string | ChanceryError> {
  try {
    if ("file" in jwks) return checked(await readInside(options.root, jwks.file));
    const document = checked(await download(jwks.url, options.fetch));
    await keep(jwksSource(jwks), document, options);
    return document;
  } catch (error) {
    return ChanceryError.from(error, "unavailable");
  }
}

async function readInside(root: string, file: string): Promise<string> {
  const path = resolve(root, file);
  if (!path.startsWith(resolve(root) + sep)) {
    throw new ChanceryError("invalid-argument", `JWKS file ${file} lies outside the resource tree.`);
  }
  const { size } = await stat(path);
  if (size > MAX_BYTES)
    throw new ChanceryError("invalid-argument", `JWKS file ${file} is larger than ${MAX_BYTES} bytes.`);
  return await readFile(path, "utf8");
}

async function download(url: string, fetch: typeof globalThis.fetch): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: "application/json" },
    redirect: "error",
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (!response.ok) throw new ChanceryError("unavailable", `${url} answered ${response.status}.`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new ChanceryError("invalid-argument", `${url} answered more than ${MAX_BYTES} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The document in one form (so that only a change of content is a change), or an error that says what is wrong. */
function checked(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ChanceryError("invalid-argument", "A JWKS document is not JSON.", { cause });
  }
  const parsed = jwksSchema.safeParse(value);
  if (!parsed.success) throw new ChanceryError("invalid-argument", 'A JWKS document has no list "keys" of keys.');
  // "d" and "k" are private and symmetric key material (RFC 7518 section 6): it does not belong in what is pushed to Envoys.
  if (parsed.data.keys.some((key) => "d" in key || "k" in key)) {
    throw new ChanceryError(
      "invalid-argument",
      "A JWKS document holds private or symmetric keys; publish public keys only.",
    );
  }
  return JSON.stringify(parsed.data);
}

function cacheFile(source: string, options: JwksReaderOptions): string {
  return join(options.cacheDirectory, `${createHash("sha256").update(source).digest("hex").slice(0, 32)}.json`);
}

async function keep(source: string, document: string, options: JwksReaderOptions): Promise<void> {
  await ensureDirectory(options.cacheDirectory);
  const file = cacheFile(source, options);
  await writeFile(`${file}.new`, document, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

async function lastGood(source: string, options: JwksReaderOptions): Promise<string | undefined> {
  try {
    return checked(await readFile(cacheFile(source, options), "utf8"));
  } catch {
    // Nothing was ever fetched, or the cache is damaged: the same as never having had the keys.
    return undefined;
  }
}
