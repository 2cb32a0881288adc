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
