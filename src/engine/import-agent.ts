import type { LoggedEvent, ModelCall } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import { type AgentState, isResting, statusOf } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { storeLimits } from "../limits.ts";
import { type FileHead, lineOfEvent, makeFileReader, wrongLine } from "../store/agent-file.ts";
import type { DraftPiece } from "../store/store.ts";
import type { Agents } from "./agents.ts";
import type { Parts } from "./parts.ts";

/** What was read of a file. */
type Arrival = {
  readonly head: FileHead;
  readonly events: LoggedEvent[];
  /** Behind the events that are folded. */
  state: AgentState | null;
  folded: number;
  pageChars: number;
  draft: { readonly call: ModelCall; readonly pieces: DraftPiece[] } | null;
};

type Importing = Parts & { readonly agents: Agents };

export type Imported = { readonly agentId: string; readonly sequence: number };

/**
 * Makes the agent of a file, given as its lines without their ends, with its id and its history; an agent that was deleted
 * here comes back. Nothing of it is to be seen before the last line was checked. Fails with invalid_argument, naming the line
 * that is wrong, or with already_exists where the agent is here, or its request id stands for another.
 */
export async function importAgent(
  parts: Importing,
  lines: AsyncIterable<string>,
): Promise<Imported> {
  const reader = makeFileReader();
  let arrival: Arrival | null = null;
  for await (const text of lines) {
    const line = reader.take(text);
    if (line.kind === "head") {
      await mustBeAbsent(parts, line.head.agentId);
      arrival = { head: line.head, events: [], state: null, folded: 0, pageChars: 0, draft: null };
    }
    if (arrival === null) throw new Error("the first line of a file is its head");
    if (line.kind === "event") takeEvent(arrival, line.logged, text.length);
    if (line.kind === "draft") arrival.draft = { call: line.call, pieces: [] };
    if (line.kind === "piece") arrival.draft?.pieces.push(line.piece);
  }
  reader.end();
  if (arrival === null) throw new Error("a file that is whole has a head");
  return create(parts, arrival);
}

async function mustBeAbsent({ store }: Parts, agentId: string): Promise<void> {
  const row = await store.row(agentId, store.nowMs());
  if (row === null) return;
  throw new EngramError(
    "already_exists",
    `agent ${agentId} is here already, with ${row.sequence} events: the file's can be imported once it is deleted`,
  );
}

function takeEvent(arrival: Arrival, logged: LoggedEvent, chars: number): void {
  arrival.events.push(logged);
  arrival.pageChars += chars;
  if (isFullPage(arrival)) foldPage(arrival);
}

const isFullPage = ({ events, folded, pageChars }: Arrival): boolean =>
  events.length - folded >= storeLimits.readEventsMax || pageChars > storeLimits.readBytesMax;

function foldPage(arrival: Arrival): void {
  const page = arrival.events.slice(arrival.folded);
  if (page.length > 0) arrival.state = foldAll(page, arrival.state);
  arrival.folded = arrival.events.length;
  arrival.pageChars = 0;
}

/** The state behind a page; where it cannot be folded, the event that cannot stand there is looked for. */
function foldAll(page: readonly LoggedEvent[], state: AgentState | null): AgentState {
  try {
    return fold(page, state);
  } catch (fault) {
    let known = state;
    for (const logged of page)
      try {
        known = fold([logged], known);
      } catch (error) {
        throw wrongLine(lineOfEvent(logged.sequence), EngramError.of(error).message);
      }
    throw fault;
  }
}

async function create({ store, agents }: Importing, arrival: Arrival): Promise<Imported> {
  foldPage(arrival);
  const { head, events, state, draft } = arrival;
  const { agentId, request, workedMs } = head;
  if (state === null) throw new Error("a log that is whole has events");
  mustRest(state);
  await store.create({
    agentId,
    atMs: state.updatedAtMs,
    nowMs: store.nowMs(),
    staged: 0,
    events,
    headHash: null,
    state,
    snapshot: false,
    wakeAtMs: null,
    wish: null,
    request,
    moved: { draft, workedMs, epoch: unusedEpoch() },
  });
  // What was known of it when it was here before.
  agents.forget(agentId);
  return { agentId, sequence: state.sequence };
}

/** What an export never gives: an agent that would begin to work by itself, and counts past what an answer can carry. */
function mustRest(state: AgentState): void {
  const line = lineOfEvent(state.sequence);
  if (!isResting(statusOf(state)))
    throw wrongLine(line, "the log ends while the agent is working: pause it, and export it then");
  const { workedMs, ...counts } = state.stats;
  if (!Number.isFinite(workedMs) || !Object.values(counts).every(Number.isSafeInteger))
    throw wrongLine(line, "its events count up to more than an agent can have");
}

/** Epochs begin at 0 and rise by one. */
const unusedEpoch = (): number => 2 ** 40 + Math.floor(Math.random() * 2 ** 40);
