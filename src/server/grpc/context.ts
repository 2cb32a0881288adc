import type { IncomingHttpHeaders } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import {
  type ConnectError,
  type ContextValues,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";

/** What a handler may ask of its call. Most ask little: each part is made when it is asked for. */
export type CallContext = HandlerContext & {
  /** What the call was aborted with; null: it was not. */
  readonly reason: ConnectError | null;
  /** Aborts the signal; null: since the call has ended well, and handlers let go of what they hold. */
  abort(reason: ConnectError | null): void;
};

type Call = {
  readonly method: DescMethod;
  readonly headers: IncomingHttpHeaders;
  /** What is left until the call's deadline. */
  readonly timeoutMs: () => number | undefined;
};

export function openContext({ method, headers, timeoutMs }: Call): CallContext {
  let reason: ConnectError | null = null;
  let ended = false;
  let aborter: AbortController | null = null;
  let requestHeader: Headers | null = null;
  let values: ContextValues | null = null;
  return {
    method,
    service: method.parent,
    timeoutMs,
    requestMethod: "POST",
    protocolName: "grpc",
    abort: (given) => {
      if (ended) return;
      ended = true;
      reason = given;
      aborter?.abort(given ?? undefined);
    },
    get reason() {
      return reason;
    },
    get signal() {
      aborter ??= new AbortController();
      if (ended) aborter.abort(reason ?? undefined);
      return aborter.signal;
    },
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
