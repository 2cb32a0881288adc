import type { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { HttpRequest, HttpResponse } from "./exchange.ts";
import { grpcMessageOf, sendable } from "./words.ts";

export type Refusal = {
  readonly code: Code;
  /** Of the JSON form; gRPC's is always 200. */
  readonly httpStatus: number;
  readonly message: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/** gRPC and gRPC-Web clients read the status from the headers of an answer without a body ("trailers-only"). */
const grpcContentType = /^application\/grpc(-web(-text)?)?(\+(proto|json))?(?=;|$)/;

/** Answers before any handler, in the form that the client's protocol knows: gRPC status headers, else Connect's JSON. */
export const refuse = (
  request: HttpRequest,
  response: HttpResponse,
  { code, httpStatus, message: full, headers = {} }: Refusal,
): void => {
  if (response.destroyed) return;
  const message = sendable(full);
  const grpc = grpcContentType.exec(request.headers["content-type"] ?? "")?.[0];
  if (grpc !== undefined) {
    const status = { "grpc-status": String(code), "grpc-message": grpcMessageOf(message) };
    const all = { ...headers, "content-type": grpc, ...status };
    if ("stream" in response && !grpc.startsWith("application/grpc-web")) {
      // gRPC takes a status from headers only if nothing follows, not even an empty frame.
      response.stream.respond({ ":status": 200, ...all }, { endStream: true });
      return;
    }
    response.writeHead(200, all);
    response.end();
    return;
  }
  response.writeHead(httpStatus, { ...headers, "content-type": "application/json" });
  response.end(`${JSON.stringify({ code: codeToString(code), message })}\n`);
};
