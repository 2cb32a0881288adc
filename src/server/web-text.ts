import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";

/*
 * The text form of gRPC-Web, for browsers that read answers as text while they come: the same bytes as base64, each piece
 * of an answer by itself, with its padding.
 */

const textType = /^application\/grpc-web-text/;

/** The request in gRPC-Web's binary form, its header changed in place; null: it is in no text form. */
export function fromWebText(request: UniversalServerRequest): UniversalServerRequest | null {
  const { header, body } = request;
  const type = header.get("content-type") ?? "";
  const isStream = typeof body === "object" && body !== null && Symbol.asyncIterator in body;
  if (!textType.test(type) || !isStream) return null;
  header.set("content-type", type.replace("-text", ""));
  return { ...request, body: decoded(body) };
}

export function toWebText(answer: UniversalServerResponse): UniversalServerResponse {
  const header = new Headers(answer.header);
  const type = header.get("content-type") ?? "";
  header.set("content-type", type.replace("grpc-web", "grpc-web-text"));
  return answer.body === undefined
    ? { ...answer, header }
    : { ...answer, header, body: encoded(answer.body) };
}

async function* decoded(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let kept = "";
  for await (const chunk of body) {
    kept += Buffer.from(chunk).toString("latin1");
    // Four characters are three bytes.
    const whole = kept.length - (kept.length % 4);
    if (whole > 0) yield bytesOf(kept.slice(0, whole));
    kept = kept.slice(whole);
  }
  if (kept !== "") yield bytesOf(kept);
}

function bytesOf(text: string): Uint8Array {
  if (/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return Buffer.from(text, "base64");
  throw new ConnectError(
    "the request is no base64, which its content-type says",
    Code.InvalidArgument,
  );
}

async function* encoded(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) yield Buffer.from(Buffer.from(chunk).toString("base64"));
}
