import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { AgentService as DuraAgentService } from "../../src/gen/dura/api/v1/agent_pb.ts";
import { AgentService, type ClientMessage } from "../../src/gen/engram/api/v1/agent_pb.ts";

const aborted = async (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

const text = (agentId: string, sequence: number, content: string) => ({
  agentId,
  sequenceId: BigInt(sequence),
  payload: { case: "text" as const, value: { content } },
});

/** A small AgentService under both names; what it does is said by the requests. */
export type FakeAgents = {
  readonly routes: (router: ConnectRouter) => void;
  /** Handlers that run at the moment. */
  readonly running: () => number;
  /** Settles once so many run. */
  readonly untilRunning: (count: number) => Promise<void>;
  /** Lets the calls of sendMessage answer. */
  readonly release: () => void;
  /** Pieces that a flood has produced. */
  readonly flooded: () => number;
  /** What the latest call's signal was aborted with. */
  readonly lastAbort: () => unknown;
};

export const makeFakeAgents = (): FakeAgents => {
  let running = 0;
  let flooded = 0;
  let lastAbort: unknown = null;
  const waiting: { count: number; wake: () => void }[] = [];
  const released = Promise.withResolvers<void>();
  const count = (by: number): void => {
    running += by;
    for (const entry of waiting.filter((each) => each.count === running)) {
      waiting.splice(waiting.indexOf(entry), 1);
      entry.wake();
    }
  };
  const enter = (signal: AbortSignal): void => {
    count(1);
    signal.addEventListener("abort", () => (lastAbort = signal.reason), { once: true });
  };
  const flood = function* (agentId: string) {
    for (;;) {
      flooded += 1;
      yield text(agentId, flooded, "z".repeat(65_536));
    }
  };
  const speak = async function* (
    message: ClientMessage,
    sequence: number,
    { signal }: HandlerContext,
  ) {
    const said = message.payload.case === "userInput" ? message.payload.value.content : "";
    if (said === "hold") await aborted(signal);
    if (said === "flood") yield* flood(message.agentId);
    yield text(message.agentId, sequence, `echo ${said}`);
  };
  const implementation = {
    createAgent: ({ goal }: { goal: string }) => {
      if (goal === "bug") throw new Error("hush: a stack trace would show this");
      if (goal === "unknown") throw new ConnectError("hush: no code");
      if (goal === "refuse") throw new ConnectError("there is no agent x", Code.NotFound);
      return { agentId: goal };
    },
    getAgent: ({ agentId }: { agentId: string }, { requestHeader }: HandlerContext) => ({
      agentId,
      status: requestHeader.get("x-note") ?? "",
    }),
    sendMessage: async (_: unknown, { signal }: HandlerContext) => {
      enter(signal);
      try {
        await Promise.race([released.promise, aborted(signal)]);
        return { text: "done" };
      } finally {
        count(-1);
      }
    },
    chat: async function* (messages: AsyncIterable<ClientMessage>, context: HandlerContext) {
      enter(context.signal);
      let sequence = 0;
      try {
        for await (const message of messages) yield* speak(message, ++sequence, context);
      } finally {
        count(-1);
      }
    },
    replay: async function* ({ agentId }: { agentId: string }, { signal }: HandlerContext) {
      enter(signal);
      try {
        if (agentId === "bug") throw new Error("hush: a stack trace would show this");
        for (let sequence = 1; sequence <= 3; sequence += 1) yield text(agentId, sequence, "old");
        if (agentId === "flood") yield* flood(agentId);
        if (agentId === "follow") await aborted(signal);
      } finally {
        count(-1);
      }
    },
  };
  return {
    routes: (router) => {
      router.service(AgentService, implementation);
      router.service(DuraAgentService, implementation);
    },
    running: () => running,
    untilRunning: async (wanted) => {
      if (running === wanted) return;
      await new Promise<void>((wake) => waiting.push({ count: wanted, wake }));
    },
    release: () => released.resolve(),
    flooded: () => flooded,
    lastAbort: () => lastAbort,
  };
};
