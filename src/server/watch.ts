import type { DescMethod } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";

/** Is told what happens at the port, for whoever counts it. */
export type PortWatch = {
  connected(): void;
  disconnected(): void;
  /** A call or a request was refused before it was looked at: it had no key, or there was no room. */
  refused(reason: "key" | "room"): void;
  /** A call has begun; the result is called once, when it ends, with "ok" or its code as Connect names it. */
  began(method: string, kind: DescMethod["methodKind"]): (code: string) => void;
};

export const nameOf = ({ parent, name }: DescMethod): string => `${parent.typeName}/${name}`;

/** As Connect writes it: "not_found". */
export const codeOf = ({ code }: ConnectError): string => codeToString(code);

/** The calls under way in connect's pipeline, told of to a watch: whoever learns first how a call ended says so. */
export type CallWatch = {
  /**
   * At the end of a call `signal` aborts, with the reason where there is one. `cutOff` is called where that comes before
   * its handler's end, for a reason of the server's: its deadline, or a shutdown.
   */
  began(method: DescMethod, signal: AbortSignal, cutOff: () => void): void;
  /** `error` null: it went well. */
  ended(signal: AbortSignal, error: ConnectError | null): void;
};

export const makeCallWatch = (watch: PortWatch): CallWatch => {
  const ends = new WeakMap<AbortSignal, (code: string) => void>();
  const ended = (signal: AbortSignal, code: string): void => {
    const end = ends.get(signal);
    ends.delete(signal);
    end?.(code);
  };
  return {
    began: (method, signal, cutOff) => {
      ends.set(signal, watch.began(nameOf(method), method.methodKind));
      const onAbort = (): void => {
        const reason: unknown = signal.reason;
        if (ends.has(signal) && reason instanceof ConnectError) cutOff();
        ended(signal, reason instanceof ConnectError ? codeOf(reason) : "canceled");
      };
      signal.addEventListener("abort", onAbort, { once: true });
    },
    ended: (signal, error) => ended(signal, error === null ? "ok" : codeOf(error)),
  };
};
