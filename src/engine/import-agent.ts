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
  /** Behind the events that stand aside. */
  state: AgentState | null;
  page: LoggedEvent[];
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
  const arrivals: Arrival[] = [];
  try {
    return await read(parts, lines, arrivals);
  } catch (error) {
    // What goes unsaid here is thrown away later, by the store itself.
    for (const { head } of arrivals) await parts.store.unstage(head.agentId).catch(() => undefined);
    throw error;
  }
}

/** `arrivals` gets the one that is begun. */
async function read(
  parts: Importing,
  lines: AsyncIterable<string>,
  arrivals: Arrival[],
): Promise<Imported> {
  const reader = makeFileReader();
  let headHash = "";
  for await (const text of lines) {
    const line = reader.take(text);
    if (line.kind === "head") {
      await makeRoom(parts, line.head.agentId);
      arrivals.push({ head: line.head, state: null, page: [], pageChars: 0, draft: null });
    }
    const [arrival] = arrivals;
    if (arrival === undefined) throw new Error("the first line of a file is its head");
    if (line.kind === "event") await takeEvent(parts, arrival, line.logged, text.length);
    if (line.kind === "draft") arrival.draft = { call: line.call, pieces: [] };
    if (line.kind === "piece") arrival.draft?.pieces.push(line.piece);
    if (line.kind === "end") headHash = line.hash;
  }
  reader.end();
  const [arrival] = arrivals;
  if (arrival === undefined) throw new Error("a file that is whole has a head");
  return create(parts, arrival, headHash);
}

/** For the agent of a file: it must not be here, and what is left of a file that was not taken is thrown away. */
async function makeRoom({ store }: Parts, agentId: string): Promise<void> {
  const row = await store.row(agentId, store.nowMs());
  if (row === null) return store.unstage(agentId);
  throw new EngramError(
    "already_exists",
    `agent ${agentId} is here already, with ${row.sequence} events: the file's can be imported once it is deleted`,
  );
}

/** An event, and with the one that fills a page all of it goes aside. */
async function takeEvent(
  { store }: Parts,
  arrival: Arrival,
  logged: LoggedEvent,
  chars: number,
): Promise<void> {
  const { page, head } = arrival;
  page.push(logged);
  arrival.pageChars += chars;
  const { readEventsMax, readBytesMax } = storeLimits;
  if (page.length < readEventsMax && arrival.pageChars < readBytesMax) return;
  const staged = stagedOf(arrival);
  foldPage(arrival);
  await store.stage(head.agentId, staged, page, store.nowMs());
  arrival.page = [];
  arrival.pageChars = 0;
}

/** How many events stand aside. */
const stagedOf = ({ page, state }: Arrival): number =>
  (page[0]?.sequence ?? (state?.sequence ?? 0) + 1) - 1;

function foldPage(arrival: Arrival): void {
  if (arrival.page.length > 0) arrival.state = foldAll(arrival.page, arrival.state);
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

async function create(
  { store, agents }: Importing,
  arrival: Arrival,
  headHash: string,
): Promise<Imported> {
  foldPage(arrival);
  const { head, page, state, draft } = arrival;
  const { agentId, request, workedMs } = head;
  if (state === null) throw new Error("a log that is whole has events");
  mustRest(state);
  // What was known of it when it was here before.
  agents.forget(agentId);
  await store.create({
    agentId,
    atMs: state.updatedAtMs,
    nowMs: store.nowMs(),
    staged: stagedOf(arrival),
    events: page,
    headHash,
    state,
    snapshot: agents.snapshotDue(agentId, state),
    wakeAtMs: null,
    wish: null,
    request,
    moved: { draft, workedMs, epoch: unusedEpoch() },
  });
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
