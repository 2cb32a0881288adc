import { EngramError, messageOf } from "../../../errors.ts";
import { turnLimits } from "../../../limits.ts";
import { auditLimits } from "../../audit/audit-limits.ts";
import { checkDraftPlace, draftPlace, makeDraftEnds, pieceOf } from "../../audit/derived.ts";
import { Fault } from "../../audit/log.ts";
import { brief, field } from "../../audit/row.ts";
import { type LogWalk, sequenceOf, walkLog } from "./log.ts";
import { type Look, lookAt } from "./look.ts";
import { checkRow, findRow, numberIn, numberOrNull, textIn } from "./row.ts";
import type { Reader } from "./reader.ts";
import { listOf, numberOf } from "../values.ts";

/** The first thing wrong with an agent, in plain words that go on "agent X: "; null: nothing, or it is not there. */
export async function auditAgent(
  reader: Reader,
  agentId: string,
  read: (events: number) => void,
): Promise<string | null> {
  const fault = await faultOf(reader, agentId, read);
  // What came of a change while it was walked, or of its removal, is not there at a second look.
  return fault === null ? null : faultOf(reader, agentId, () => {});
}

async function faultOf(
  reader: Reader,
  agentId: string,
  read: (events: number) => void,
): Promise<string | null> {
  try {
    await walk(reader, agentId, read);
    return null;
  } catch (error) {
    if (error instanceof Fault) return error.message;
    if (EngramError.of(error).code === "unavailable") throw error;
    return `it cannot be read: ${messageOf(error)}`;
  }
}

async function walk(
  reader: Reader,
  agentId: string,
  read: (events: number) => void,
): Promise<void> {
  const log = walkLog(reader, agentId, read);
  for (let row = await findRow(reader, agentId); row !== null;) {
    await log.upTo(row);
    const after = log.place().sequence;
    const look = await lookAt(reader, agentId, { after, requestId: textIn(row, "request") });
    if (look === null) break;
    ({ row } = look);
    if (numberIn(row, "head") > after) continue;
    checkLook(look, log);
    if (mustBeDue(look)) await checkDue(reader, look);
    checkRequest(look, agentId);
    return;
  }
  if (await isListed(reader, agentId)) throw new Fault("it is listed, but not there");
}

/** Of an agent that was not there. Both go in one step, so that it is listed only as long as it is there. */
async function isListed({ shards, ask }: Reader, agentId: string): Promise<boolean> {
  const shard = shards.of(agentId);
  const isThere = (): Promise<unknown> => ask(shard, "HEXISTS", shard.agent(agentId), "head");
  const [before, listed, then] = await Promise.all([
    isThere(),
    ask(shard, "ZSCORE", shard.index, `all:${agentId}`),
    isThere(),
  ]);
  return before === 0 && then === 0 && listed !== null;
}

/** That what stands beside the log of an agent is what the log gives. Throws Fault. */
function checkLook(look: Look, log: LogWalk): void {
  const { row, behind, marks, isDeleted, lifetimes } = look;
  const place = log.place();
  checkRow(row, place);
  if (behind !== null) {
    const [id] = listOf(behind);
    const event = sequenceOf(id) ?? brief(id);
    throw new Fault(`event ${event} stands behind its last, ${place.sequence}`);
  }
  if (numberOrNull(row, "snapshotAt") !== log.snapshotAt())
    throw new Fault("its index row was changed: the place of its snapshot");
  log.marks.end(marks);
  checkDraft(look, place.sequence);
  checkPlaces(look);
  if (isDeleted) throw new Fault("it was deleted, but is still there");
  if (lifetimes.some((leftMs) => leftMs >= 0))
    throw new Fault("a key of it was given a time to live, and will be gone");
}

/** Throws Fault. */
function checkDraft({ row, pieces }: Look, head: number): void {
  const call = row.get("draft");
  if (call === undefined) {
    if (pieces.length > 0) throw new Fault("it has pieces of a draft, but no draft");
    if (row.has("draftAt")) throw new Fault("its index row was changed: its draft is missing");
    return;
  }
  const checkEnd = makeDraftEnds();
  for (const [number, text] of pieces.entries()) {
    const value = jsonOf(text);
    const piece = pieceOf(
      {
        kind: field(value, "kind"),
        offset: field(value, "offset"),
        content: field(value, "content"),
      },
      number,
    );
    checkEnd(piece, number);
  }
  const afterSequence = draftPlace(call);
  checkDraftPlace(afterSequence, head);
  if (numberIn(row, "draftAt") !== afterSequence)
    throw new Fault(
      `its draft answers event ${afterSequence}, its index row says ${row.get("draftAt")}`,
    );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Throws Fault. */
function checkPlaces({ row, places }: Look): void {
  const status = textIn(row, "status");
  const isHeld = status === "waiting_for_step" && textIn(row, "worker") !== "";
  const wanted = ["all", isHeld ? "held" : status];
  const missing = wanted.find((place) => !places.includes(place));
  const extra = places.find((place) => !wanted.includes(place));
  if (missing === "all") throw new Fault("it is not listed");
  if (missing !== undefined) throw new Fault(`it is not listed as ${missing}`);
  if (extra !== undefined) throw new Fault(`it is listed as ${extra} too`);
}

/**
 * Whether an agent's wake time has to have come. A command takes no notice of a lease that has run out, and a worker that
 * is stopped gives back even what has come to rest meanwhile: then somebody is to look at once. Throws Fault.
 */
function mustBeDue({ row, wakeAtMs }: Look): boolean {
  const lease = numberIn(row, "lease");
  const waits = row.get("status") === "waiting_for_step";
  const isHeld = row.get("worker") !== "";
  if (wakeAtMs === null) {
    if (waits) throw new Fault("it waits for a step, but has no wake time");
    return false;
  }
  if (isHeld && wakeAtMs < lease) throw heldUntil(lease, wakeAtMs);
  return isHeld ? wakeAtMs > lease : true;
}

const heldUntil = (lease: number, wakeAtMs: number): Fault =>
  new Fault(`a worker holds it until ${lease}, but its wake time is ${wakeAtMs}`);

/** Throws Fault. */
async function checkDue(reader: Reader, { row, wakeAtMs }: Look): Promise<void> {
  const nowMs = await storeNowMs(reader);
  if (nowMs === null || wakeAtMs === null) return;
  const aheadMs = wakeAtMs - nowMs - auditLimits.clockErrorMs;
  if (row.get("worker") !== "" && aheadMs > 0) throw heldUntil(numberIn(row, "lease"), wakeAtMs);
  if (row.get("status") !== "waiting_for_step" && aheadMs > 0)
    throw new Fault("it rests, but has a wake time");
  if (aheadMs > turnLimits.retryAfterMsMax)
    throw new Fault(`it waits for a step, but its wake time is ${wakeAtMs}`);
}

/** The store's own time; null: this user may not ask what time it is. */
async function storeNowMs({ shards, ask }: Reader): Promise<number | null> {
  try {
    const [time, ahead] = await Promise.all([
      ask(shards.first, "TIME"),
      ask(shards.first, "HGET", shards.first.store, "ahead"),
    ]);
    const [seconds, micros] = listOf(time).map(numberOf);
    return (seconds ?? 0) * 1_000 + (micros ?? 0) / 1_000 + numberOf(ahead ?? 0);
  } catch {
    return null;
  }
}

/** That the request that made an agent stands for it. Throws Fault. */
function checkRequest({ row, reservation }: Look, agentId: string): void {
  const requestId = textIn(row, "request");
  if (requestId === "") return;
  const standsFor = reservation?.slice(reservation.indexOf(" ") + 1) ?? "nothing";
  if (standsFor !== agentId)
    throw new Fault(`its request ${brief(requestId)} stands for ${brief(standsFor)}`);
}
