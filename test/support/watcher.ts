import type { LoggedEvent } from "../../src/agent/event.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { Followed } from "../../src/engine/follow.ts";
import type { DraftPiece } from "../../src/store/store.ts";

type Kind = DraftPiece["kind"];

/** A client that holds what it sees to the output rule, over however many streams. */
export type Watcher = {
  readonly seen: readonly LoggedEvent[];
  /** Pieces seen, by all streams. */
  readonly pieces: () => number;
  /** Bytes seen so far of the text being written. */
  readonly textBytes: () => number;
  /** What was not as promised. */
  readonly faults: readonly string[];
  take(item: Followed): void;
  /** A new stream attaches behind what was seen. Of answers that are whole at `head` by then it gets no pieces. */
  attach(head: number): void;
  /** Follows until the agent or the engine is gone. */
  watch(engine: Engine, agentId: string): Promise<void>;
};

const nothing = (): Record<Kind, Buffer> => ({ thinking: Buffer.alloc(0), text: Buffer.alloc(0) });

/** `after` is the last event that its streams leave out. */
export function makeWatcher(after = 0): Watcher {
  const seen: LoggedEvent[] = [];
  const faults: string[] = [];
  /** By the stream of now, and by any stream. */
  let written = nothing();
  let ever = nothing();
  let pieces = 0;
  let headAtAttaching = 0;
  let streams = 0;

  const whole = (kind: Kind, content: string, sequence: number): void => {
    const untold = sequence <= headAtAttaching && written[kind].length === 0;
    if (!untold && !written[kind].equals(Buffer.from(content)))
      faults.push(
        `${kind} at ${sequence}: pieces give ${written[kind].toString()}, the event ${content}`,
      );
    if (!Buffer.from(content).subarray(0, ever[kind].length).equals(ever[kind]))
      faults.push(`${kind} at ${sequence}: ${ever[kind].toString()} was shown and taken back`);
  };
  const clear = (): void => {
    written = nothing();
    ever = nothing();
  };
  const attach = (head: number): void => {
    headAtAttaching = head;
    written = nothing();
  };
  const event = (logged: LoggedEvent): void => {
    const { sequence, event: it } = logged;
    const expected = after + seen.length + 1;
    if (sequence !== expected) faults.push(`event ${sequence} in the place of ${expected}`);
    seen.push(logged);
    if (it.type === "ModelThought") whole("thinking", it.content, sequence);
    if (it.type === "ModelSpoke") whole("text", it.content, sequence);
    if (it.type === "AnswerAbandoned" || it.type === "ModelSpoke" || it.type === "FinalAnswered")
      clear();
    if (it.type === "ToolRequested") clear();
  };
  const piece = ({ kind, offset, content }: DraftPiece): void => {
    pieces++;
    if (offset !== written[kind].length)
      faults.push(`a piece of ${kind} at ${offset}, behind ${written[kind].length} bytes`);
    written[kind] = Buffer.concat([written[kind].subarray(0, offset), Buffer.from(content)]);
    if (written[kind].length > ever[kind].length) ever[kind] = written[kind];
  };
  const take = (item: Followed): void => {
    if (item.kind === "event") event(item.logged);
    else piece(item.piece);
  };

  return {
    seen,
    faults,
    pieces: () => pieces,
    textBytes: () => written.text.length,
    take,
    attach,
    watch: async (engine, agentId) => {
      const stream = ++streams;
      const follower = await engine.follow(agentId, after + seen.length, true);
      attach((await engine.get(agentId)).sequence);
      for (;;) {
        const items = await follower.take();
        // What a stream has left of a dead engine comes by the next one.
        if (stream !== streams) return;
        for (const item of items) take(item);
        await follower.wait(3_600_000);
      }
    },
  };
}
