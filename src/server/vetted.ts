import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { requestLimits } from "../limits.ts";
import { makeFrames, tooLarge } from "./frames.ts";
import { mustHaveFewFields, mustHaveFewValues } from "./parts.ts";

type Form = {
  readonly type: DescMessage;
  readonly contentType: string;
  /** Of the body as a whole. */
  readonly contentEncoding: string | null;
  /** Called when a message has come. */
  readonly came: () => void;
};

type Look = (message: Uint8Array, isZipped: boolean) => Promise<void>;

const unzip = promisify(gunzip);

/** A request's body, of which each message is looked at before it is passed on: RESOURCE_EXHAUSTED where one has too many parts, or unzips to too much. */
export function vetted(
  body: AsyncIterable<Uint8Array>,
  { type, contentType, contentEncoding, came }: Form,
): AsyncIterable<Uint8Array> {
  const isJson = /json(;|$)/.test(contentType);
  const look: Look = async (message, isZipped) => {
    came();
    const plain = isZipped ? await unzipped(message) : message;
    if (isJson) mustHaveFewValues(plain);
    else mustHaveFewFields(type, plain);
  };
  const isFramed = /^application\/(grpc|connect\+)/.test(contentType);
  return isFramed ? frames(body, look) : whole(body, contentEncoding === "gzip", look);
}

async function* frames(body: AsyncIterable<Uint8Array>, look: Look): AsyncGenerator<Uint8Array> {
  const found = makeFrames();
  for await (const chunk of body) {
    found.add(chunk);
    for (let frame = found.take(); frame !== null; frame = found.take()) {
      await look(frame.message, (frame.flags & 1) !== 0);
      yield frame.bytes;
    }
  }
  yield found.rest();
}

async function* whole(
  body: AsyncIterable<Uint8Array>,
  isZipped: boolean,
  look: Look,
): AsyncGenerator<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    // The reader has the same limit, and words for it.
    if (bytes > requestLimits.messageBytesMax) break;
  }
  const all = Buffer.concat(chunks);
  if (bytes <= requestLimits.messageBytesMax) await look(all, isZipped);
  yield all;
}

/** What cannot be unzipped is refused by the reader: here it is nothing. */
async function unzipped(message: Uint8Array): Promise<Uint8Array> {
  try {
    return await unzip(message, { maxOutputLength: requestLimits.messageBytesMax });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE")
      throw new ConnectError(tooLarge("more"), Code.ResourceExhausted);
    return new Uint8Array();
  }
}
