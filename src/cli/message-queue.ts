import type { ClientMessage } from "../gen/engram/api/v1/agent_pb.ts";

/** What a client sends on one stream, which takes it as it comes. */
export type MessageQueue = {
  push(message: ClientMessage): void;
  /** Half-closes: the reader ends behind what was pushed. */
  close(): void;
  read(): AsyncGenerator<ClientMessage>;
};

/** An open queue with nothing in it. */
export function makeMessageQueue(): MessageQueue {
  const waiting: ClientMessage[] = [];
  let isClosed = false;
  let wake = (): void => {};
  return {
    push: (message: ClientMessage): void => {
      waiting.push(message);
      wake();
    },
    close: (): void => {
      isClosed = true;
      wake();
    },
    async *read(): AsyncGenerator<ClientMessage> {
      for (;;) {
        yield* waiting.splice(0);
        if (waiting.length > 0) continue;
        if (isClosed) return;
        const { promise, resolve } = Promise.withResolvers<void>();
        wake = resolve;
        await promise;
      }
    },
  };
}
