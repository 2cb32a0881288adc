import type { IncomingHttpHeaders } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import { type ContextValues, createContextValues, type HandlerContext } from "@connectrpc/connect";

type Call = {
  readonly method: DescMethod;
  readonly headers: IncomingHttpHeaders;
  readonly signal: AbortSignal;
  readonly timeoutMs: () => number | undefined;
};

/** What a handler may ask of its call. Most ask nothing: each part is made when it is asked for. */
export function openContext({ method, headers, signal, timeoutMs }: Call): HandlerContext {
  let requestHeader: Headers | null = null;
  let values: ContextValues | null = null;
  return {
    method,
    service: method.parent,
    signal,
    timeoutMs,
    requestMethod: "POST",
    protocolName: "grpc",
    get url() {
      return `http://${headers[":authority"] ?? "localhost"}${headers[":path"] ?? "/"}`;
    },
    get requestHeader() {
      return (requestHeader ??= headersOf(headers));
    },
    get responseHeader(): Headers {
      throw new Error("an answer over gRPC has no headers of its own");
    },
    get responseTrailer(): Headers {
      throw new Error("an answer over gRPC has no trailers of its own");
    },
    get values() {
      return (values ??= createContextValues());
    },
  };
}

function headersOf(headers: IncomingHttpHeaders): Headers {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(":") || value === undefined) continue;
    all.set(name, Array.isArray(value) ? value.join(", ") : value);
  }
  return all;
}
