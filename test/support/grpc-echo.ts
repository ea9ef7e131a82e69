import { promisify } from "node:util";
import {
  type Client,
  credentials,
  Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
} from "@grpc/grpc-js";

// Messages are bytes passed through: what matters here is how calls travel, not what is in them.
const pass = (bytes: Buffer): Buffer => bytes;
const SERVICE = {
  Unary: method("Unary", false),
  Chat: method("Chat", true),
} satisfies ServiceDefinition;

function method<S extends boolean>(name: string, stream: S) {
  return {
    path: `/chancery.test.v1.Echo/${name}`,
    requestStream: stream,
    responseStream: stream,
    requestSerialize: pass,
    requestDeserialize: pass,
    responseSerialize: pass,
    responseDeserialize: pass,
  };
}

export interface GrpcEcho {
  readonly port: number;
  stats(): GrpcEchoStats;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface GrpcEchoStats {
  readonly calls: number;
  /** Messages received, of calls that are still open too. */
  readonly messages: number;
  /** Calls whose client has not said that it is done. */
  readonly open: number;
  /** Metadata of the newest call: name → values. */
  readonly lastMetadata: Readonly<Record<string, readonly string[]>>;
}

/** A gRPC service that answers each message with the same bytes, and says in its metadata who answered. */
export async function startGrpcEcho(name = "grpc-echo"): Promise<GrpcEcho> {
  const stats = { calls: 0, messages: 0, open: 0, lastMetadata: {} as Record<string, string[]> };
  const begin = (metadata: Metadata): Metadata => {
    stats.calls += 1;
    stats.lastMetadata = Object.fromEntries(
      Object.keys(metadata.getMap()).map((key) => [key, metadata.get(key).map(String)]),
    );
    const answer = new Metadata();
    answer.set("x-served-by", name);
    return answer;
  };
  const server = new Server();
  server.addService(SERVICE, {
    Unary: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
      call.sendMetadata(begin(call.metadata));
      stats.messages += 1;
      callback(null, call.request);
    },
    Chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.sendMetadata(begin(call.metadata));
      stats.open += 1;
      let open = true;
      const done = (): void => {
        if (open) stats.open -= 1;
        open = false;
      };
      call.on("data", (message: Buffer) => {
        stats.messages += 1;
        call.write(message);
      });
      call.on("end", () => {
        done();
        call.end();
      });
      call.on("cancelled", done);
      // A broken call ends as cancelled; there is nobody here to tell.
      call.on("error", done);
    },
  });
  const bind = promisify<string, ServerCredentials, number>(server.bindAsync.bind(server));
  const port = await bind("127.0.0.1:0", ServerCredentials.createInsecure());
  const close = async (): Promise<void> => server.forceShutdown();
  return { port, stats: () => structuredClone(stats), close, [Symbol.asyncDispose]: close };
}

const EchoClient = makeGenericClientConstructor(SERVICE, "Echo");

/** A call of the echo service over a channel of its own. */
export interface GrpcEchoClient {
  unary(message: string, metadata?: Readonly<Record<string, string>>): Promise<string>;
  /** Opens a bidirectional stream. */
  chat(metadata?: Readonly<Record<string, string>>): GrpcChat;
  close(): void;
}

export interface GrpcChat {
  send(message: string): void;
  /** Says that nothing more comes. */
  end(): void;
  /** The answers as they arrive; throws the call's error. */
  readonly answers: AsyncIterable<Buffer>;
  cancel(): void;
}

/** @param address  "127.0.0.1:10000"; `authority` is sent in place of it as host name */
export function createGrpcEchoClient(address: string, authority?: string): GrpcEchoClient {
  const options = authority === undefined ? {} : { "grpc.default_authority": authority };
  const client: Client = new EchoClient(address, credentials.createInsecure(), options);
  const withMetadata = (entries: Readonly<Record<string, string>> = {}): Metadata => {
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(entries)) metadata.set(key, value);
    return metadata;
  };
  return {
    unary: (message, metadata) =>
      new Promise((resolve, reject) => {
        const bytes = Buffer.from(message);
        const { path } = SERVICE.Unary;
        client.makeUnaryRequest(path, pass, pass, bytes, withMetadata(metadata), (error, answer) => {
          if (error !== null) reject(error);
          else resolve((answer ?? Buffer.alloc(0)).toString());
        });
      }),
    chat: (metadata) => {
      const call = client.makeBidiStreamRequest(SERVICE.Chat.path, pass, pass, withMetadata(metadata));
      return {
        send: (message) => {
          call.write(Buffer.from(message));
        },
        end: () => call.end(),
        answers: call as AsyncIterable<Buffer>,
        cancel: () => call.cancel(),
      };
    },
    close: () => client.close(),
  };
}
