import fc from "fast-check";
import type { Event } from "../../src/agent/event.ts";
import { fold } from "../../src/agent/fold.ts";
import type { DraftPiece, Lease, Store } from "../../src/store/store.ts";
import { born, callAfter, logged, paused, resumed, said, startMs } from "./events.ts";
import { holder } from "./stores.ts";

/** One move of a story: what a worker writes of an answer, how the answer ends, or what a client puts in between. */
export type Move =
  | {
      readonly kind: "write";
      readonly of: DraftPiece["kind"];
      readonly contents: readonly string[];
    }
  | { readonly kind: "whole" | "abandon" | "fail" | "say" | "pause" };

/** Text whose characters take one to four bytes. */
const anyPiece = fc.string({
  unit: fc.constantFrom("a", " ", "é", "…", "😀", "\n"),
  minLength: 1,
  maxLength: 6,
});

export const anyMove: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      of: fc.constantFrom("text", "text", "thinking"),
      contents: fc.array(anyPiece, { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: "whole" as const }) },
  {
    weight: 3,
    arbitrary: fc.constantFrom("abandon", "fail", "say", "pause").map((kind) => ({ kind })),
  },
);

/** An agent on a store, and a worker that plays moves on it as an engine would. */
export type Story = {
  play(move: Move): Promise<void>;
  /** How many events there are. */
  readonly head: () => number;
};

export async function openStory(store: Store, agentId: string): Promise<Story> {
  const events: Event[] = [born()];
  const wish = { worker: "w", untilMs: startMs + 3_600_000 };
  const { lease } = await store.create({
    agentId,
    atMs: startMs,
    nowMs: startMs,
    staged: 0,
    headHash: null,
    snapshot: false,
    events: [{ atMs: startMs, event: events[0]! }],
    state: fold(logged(events)),
    wakeAtMs: startMs,
    wish,
    request: null,
    moved: null,
  });
  const { epoch }: Lease = lease!;
  let callSequence = 1;
  let answer = { thinking: "", text: "" };

  const append = async (more: readonly Event[], asWorker: boolean, dropDraft: boolean) => {
    const after = events.length;
    events.push(...more);
    await store.append({
      agentId,
      after,
      atMs: startMs,
      nowMs: startMs,
      snapshot: false,
      events: more,
      state: fold(logged(events)),
      epoch: asWorker ? epoch : null,
      leaseUntilMs: asWorker ? wish.untilMs : null,
      wakeAtMs: null,
      wish: null,
      dropDraft,
    });
  };
  const next = (): void => {
    answer = { thinking: "", text: "" };
    callSequence = events.length;
  };
  const call = () => callAfter(callSequence);

  return {
    head: () => events.length,
    play: async (move) => {
      switch (move.kind) {
        case "write": {
          const pieces = move.contents.map((content) => {
            const offset = Buffer.byteLength(answer[move.of]);
            answer[move.of] += content;
            return { kind: move.of, offset, content };
          });
          return store.writeDraft(holder(agentId, epoch), call(), pieces);
        }
        case "whole": {
          // The last of it came with the end, and was never a draft.
          const text = `${answer.text}.`;
          const head = { call: call(), usage: { promptTokens: 1, completionTokens: 1 } };
          const thought: Event = { type: "ModelThought", head, content: answer.thinking };
          const thoughts = answer.thinking === "" ? [] : [thought];
          const spoke: Event = {
            type: "ModelSpoke",
            head: thoughts.length === 0 ? head : null,
            content: text,
          };
          await append([...thoughts, spoke], true, true);
          // So that the agent works on, and drafts are taken.
          await append([said("go on")], false, false);
          return next();
        }
        case "abandon":
          await append([{ type: "AnswerAbandoned", call: call(), reason: "" }], true, true);
          return next();
        case "fail": {
          const failed = { code: "MODEL_TIMEOUT", message: "", retryAtMs: 0 } as const;
          await append([{ type: "ModelFailed", call: call(), ...failed }], true, false);
          // Where nothing was written there is nothing to go on with: the next call is a new one.
          return answer.text === "" && answer.thinking === "" ? next() : undefined;
        }
        case "say":
          return append([said("and?")], false, false);
        case "pause":
          return append([paused(), resumed], false, false);
      }
    },
  };
}
