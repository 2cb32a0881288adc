import { createServer, type AddressInfo, type Socket } from "node:net";
import { readRequest, type FakeExchange } from "./fake-ollama-exchange.ts";

/** How one chat is answered. */
export type ScriptOf<X> = (exchange: X) => void | Promise<void>;

/** A stand-in for a model server on a real port. */
export type FakeServer<X> = {
  readonly url: string;
  /** Every chat's request, in order. */
  readonly chats: X[];
  /** Every other request. */
  readonly others: X[];
  /** Answers the next chats with these, one each. */
  readonly next: (...scripts: readonly ScriptOf<X>[]) => void;
  /** Answers all chats so, but those that have a script of their own, until the result is called. */
  readonly always: (script: ScriptOf<X>) => () => void;
  /** Answers the next requests to that path so, which is not the chats'. */
  readonly nextAt: (path: string, ...scripts: readonly ScriptOf<X>[]) => void;
  /** Resolves with the n-th chat (from 0) when it has come. */
  readonly chat: (n: number) => Promise<X>;
  readonly close: () => Promise<void>;
};

/** What is a protocol's own in such a server. */
export type FakeProtocol<X> = {
  readonly open: (socket: Socket, head: string, body: string) => X;
  readonly chatPath: string;
  /** Answers a chat that no script was given for. */
  readonly answer: ScriptOf<X>;
  /** Whether `always` is for it; absent: for every chat. */
  readonly isRuled?: (exchange: X) => boolean;
  readonly serve: ScriptOf<X>;
};

/** Starts a server on 127.0.0.1; `port` 0 takes a free one. */
export const openFakeServer = async <X extends Pick<FakeExchange, "path" | "signal" | "json">>(
  { open, chatPath, answer, isRuled = () => true, serve }: FakeProtocol<X>,
  port = 0,
): Promise<FakeServer<X>> => {
  const chats: X[] = [];
  const others: X[] = [];
  const scripts: ScriptOf<X>[] = [];
  const scriptsAt = new Map<string, ScriptOf<X>[]>();
  let usual: ScriptOf<X> | null = null;
  const sockets = new Set<Socket>();
  const waiting: (() => void)[] = [];
  const scriptFor = (x: X): ScriptOf<X> => scripts.shift() ?? (isRuled(x) ? usual : null) ?? answer;
  const onRequest = (x: X): void => {
    if (x.path !== chatPath) {
      others.push(x);
      return void (scriptsAt.get(x.path)?.shift() ?? serve)(x);
    }
    chats.push(x);
    for (const wake of waiting.splice(0)) wake();
    Promise.resolve(scriptFor(x)(x)).catch((cause: unknown) => {
      if (!x.signal.aborted) x.json(500, { error: String(cause) });
    });
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    readRequest(socket, (head, body) => onRequest(open(socket, head, body)));
  });
  await new Promise<void>((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`,
    chats,
    others,
    next: (...more) => void scripts.push(...more),
    always: (script) => {
      usual = script;
      return () => void (usual = null);
    },
    nextAt: (path, ...more) => void scriptsAt.set(path, [...(scriptsAt.get(path) ?? []), ...more]),
    chat: async (n) => {
      for (;;) {
        const found = chats[n];
        if (found !== undefined) return found;
        await new Promise<void>((resolve) => waiting.push(resolve));
      }
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};
