import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from "node:http2";

export type RawAnswer = {
  readonly headers: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
  readonly body: Buffer;
};

/** One POST of these bytes with nothing added. */
export const post = async (
  session: ClientHttp2Session,
  path: string,
  headers: OutgoingHttpHeaders,
  body: Uint8Array,
): Promise<RawAnswer> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let answered = {};
    let trailers = {};
    const stream = session.request({ ":method": "POST", ":path": path, ...headers });
    stream.on("response", (got) => (answered = { ...got }));
    stream.on("trailers", (got) => (trailers = { ...got }));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => resolve({ headers: answered, trailers, body: Buffer.concat(chunks) }));
    stream.end(body);
  });

export const openSession = async (url: string): Promise<ClientHttp2Session> =>
  new Promise((resolve, reject) => {
    const session = connect(url, () => resolve(session));
    session.once("error", reject);
  });

/** A message in gRPC's and Connect's envelope. */
export const envelope = (message: Uint8Array, flags = 0): Uint8Array => {
  const framed = Buffer.alloc(5 + message.length);
  framed.writeUInt8(flags, 0);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, 5);
  return framed;
};

export const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** A frame of HTTP/2; the payload's characters are its bytes. */
export const frame = (type: number, flags: number, stream: number, payload = ""): Buffer => {
  const bytes = Buffer.alloc(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(stream, 5);
  bytes.write(payload, 9, "latin1");
  return bytes;
};

/** What a client says first: the preface and empty settings. */
export const greeting = Buffer.concat([Buffer.from(preface), frame(4, 0, 0)]);
export const ping = frame(6, 0, 0, "\0".repeat(8));
/** The answer to a PING of zeros, which is what the runtime asks with. */
export const pong = frame(6, 1, 0, "\0".repeat(8));
/** The flag of a HEADERS frame that holds the whole head. */
export const endHeaders = 4;
/** That of one behind which its stream has nothing to say. */
export const endStream = 1;

/** HPACK: a POST over http to `path`, with gRPC's content type; no name is indexed. */
export const grpcHead = (path: string): string => {
  const text = (value: string): string => String.fromCharCode(value.length) + value;
  const field = (name: string, value: string): string => `\0${text(name)}${text(value)}`;
  const authority = field(":authority", "a");
  return `\x83\x86${field(":path", path)}${authority}${field("content-type", "application/grpc")}`;
};
