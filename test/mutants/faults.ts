import { answering } from "./answer-faults.ts";
import { editing } from "./edit-faults.ts";
import type { Fault } from "./fault.ts";
import { ollama } from "./ollama-faults.ts";
import { openai } from "./openai-faults.ts";
import { looking } from "./prompt-faults.ts";
import { redis } from "./redis-faults.ts";
import { text } from "./text-faults.ts";

const lease = "test/store/contract-lease.test.ts";
const log = "test/store/contract-log.test.ts";
const index = "test/store/contract-index.test.ts";
const derived = "test/store/contract-derived.test.ts";
const work = "test/store/contract-work.test.ts";
const staged = "test/store/contract-stage.test.ts";
const changed = "test/store/sqlite.test.ts";
const commit = "test/store/sqlite-commit.test.ts";
const clocks = "test/engine/clocks.test.ts";
const drive = "test/engine/drive.test.ts";
const follow = "test/engine/follow.test.ts";
const suspects = "test/engine/suspects.test.ts";
const room = "test/engine/room.test.ts";
const fold = "test/agent/fold.test.ts";
const decide = "test/agent/decide.test.ts";
const accept = "test/agent/accept.test.ts";

const staging: readonly Fault[] = [
  {
    name: "other events are taken for those that stand aside already",
    file: "src/store/staging.ts",
    text: "if (!Bun.deepEquals(hash, hashAt(page.after + common))) return null;",
    by: "",
    tests: [staged],
  },
  {
    name: "a fork that was put aside keeps its parent's message ids",
    file: "src/store/staging.ts",
    text: "while (stale) stale = await aside.clear();",
    by: "stale = false;",
    tests: [staged],
  },
];

const memory: readonly Fault[] = [
  {
    name: "memory: a worker that was replaced writes on",
    file: "src/store/memory.ts",
    text: "if (entry.epoch === epoch) return entry;",
    by: "if (entry.epoch >= epoch) return entry;",
    tests: [lease],
  },
  {
    name: "memory: an append goes behind a head that its writer did not know",
    file: "src/store/memory.ts",
    text: "if (entry.row.sequence !== append.after)",
    by: "if (entry.row.sequence < append.after)",
    tests: [log],
  },
  {
    name: "memory: a draft grows behind a pause",
    file: "src/store/memory.ts",
    text: "    mustWork(entry);\n",
    by: "",
    tests: [index],
  },
  {
    name: "memory: a worker lets go though something came that it has not seen",
    file: "src/store/memory.ts",
    text: "if (after !== null && entry.row.sequence !== after) return false;",
    by: "",
    tests: [lease],
  },
  {
    name: "memory: who died with a poisonous step dies with it again",
    file: "src/store/memory.ts",
    text: "claims < turnLimits.claimsTrusted",
    by: "claims < Infinity",
    tests: [lease, drive],
  },
  {
    name: "memory: work told with a draft is forgotten",
    file: "src/store/memory.ts",
    text: "    entry.workedMs = holder.workedMs;\n",
    by: "",
    tests: [work],
  },
];

const agent: readonly Fault[] = [
  {
    name: "a tool call that has its result runs again",
    file: "src/agent/fold-reply.ts",
    text: "draft.pendingCalls = draft.pendingCalls.filter((other) => other !== call);",
    by: "",
    tests: [fold, drive],
  },
  {
    name: "a second result of a tool call is taken",
    file: "src/agent/fold-reply.ts",
    text: "  const call = draft.pendingCalls.find(({ callId }) => callId === event.callId);\n  if (call === undefined)\n",
    by: "  const call = draft.pendingCalls.find(({ callId }) => callId === event.callId);\n  if (call === undefined) return;\n  if (call === undefined)\n",
    tests: [fold],
  },
  {
    name: "a known message_id is recorded again",
    file: "src/agent/accept.ts",
    text: "return { events: [], sequence: known.sequence };",
    by: "return { events: eventsOf(state, command, marks), sequence: state.sequence };",
    tests: [accept],
  },
  {
    name: "a known message_id is taken with other content",
    file: "src/agent/accept.ts",
    text: "if (known.digest === command.key?.digest) return",
    by: "if (known !== undefined) return",
    tests: [accept],
  },
  {
    name: "a decision on a tool call can be turned round",
    file: "src/agent/accept.ts",
    text: "  if (decided !== undefined)\n    throw",
    by: "  if (decided === '')\n    throw",
    tests: [accept],
  },
  {
    name: "a fork answers for messages of its parent",
    file: "src/agent/mark.ts",
    text: 'if (key.startsWith(messageKey(""))) marks.delete(key);',
    by: "marks.has(key);",
    tests: [accept, derived],
  },
  {
    name: "work that a worker told of is not counted",
    file: "src/agent/fold.ts",
    text: "draft.turn = { ...draft.turn, workedMs: draft.turn.workedMs + workedMs };",
    by: "",
    tests: [decide, clocks],
  },
  {
    name: "a pause before a retry counts as long as the clock says",
    file: "src/agent/decide.ts",
    text: "Math.max(0, Math.min(nowMs, turn.retryAtMs) - updatedAtMs);",
    by: "Math.max(0, nowMs - updatedAtMs);",
    tests: [decide, clocks],
  },
  {
    name: "a retry waits until a clock that was set back is there again",
    file: "src/agent/decide.ts",
    text: "nowMs < updatedAtMs ? 0 :",
    by: "nowMs < 0 ? 0 :",
    tests: [decide, clocks],
  },
  {
    name: "input behind a clock that was set back lets a retry wait until it is there again",
    file: "src/agent/fold.ts",
    text: "if (logged.atMs < draft.updatedAtMs) draft.turn",
    by: "if (logged.atMs < 0) draft.turn",
    tests: [fold, clocks],
  },
];

const engine: readonly Fault[] = [
  {
    name: "two agents that engines have died with are driven at once",
    file: "src/engine/schedule.ts",
    text: "trustedOnly: suspects.some()",
    by: "trustedOnly: false",
    tests: [suspects],
  },
  {
    name: "a follower leaves the rest of an answer",
    file: "src/engine/follow.ts",
    text: " && !piecesLeft",
    by: "",
    tests: [follow],
  },
  {
    name: "who waits for room is not looked for when there is some",
    file: "src/engine/schedule.ts",
    text: "if (starved) poke();",
    by: "",
    tests: [room],
  },
  {
    name: "a step that kills its engine is tried for ever",
    file: "src/engine/drive.ts",
    text: "lease.claims > turnLimits.claimsWithoutAppendMax",
    by: "lease.claims > Infinity",
    tests: [drive],
  },
  {
    name: "a worker writes behind the pause or cancel that stopped it",
    file: "src/engine/step.ts",
    text: 'if (statusOf(step.state) !== "waiting_for_step") throw new Interrupt("stopped");',
    by: "",
    tests: [drive],
  },
  {
    name: "a turn's time is measured by the wall clock",
    file: "src/engine/work-meter.ts",
    text: "  const startMs = clock.monotonicMs();\n  let offsetMs = beforeMs;\n  return {\n    workedMs: () => Math.max(0, Math.round(clock.monotonicMs()",
    by: "  const startMs = clock.nowMs();\n  let offsetMs = beforeMs;\n  return {\n    workedMs: () => Math.max(0, Math.round(clock.nowMs()",
    tests: [clocks],
  },
  {
    name: "a wait grows by what a clock is set back in it",
    file: "src/engine/step.ts",
    text: "if (recordedMs === null) return parts.clock.nowMs();",
    by: "if (recordedMs !== 0.5) return parts.clock.nowMs();",
    tests: [clocks],
  },
  {
    name: "a lease goes by a clock that can be set",
    file: "src/clock.ts",
    text: "return () => Math.round(startMs + clock.monotonicMs());",
    by: "return () => Math.round(startMs * 0 + clock.nowMs());",
    tests: [work, clocks],
  },
  {
    name: "a delta is not committed to the draft",
    file: "src/engine/draft-writer.ts",
    text: "        await store.writeDraft(holder(), call, pieces);",
    by: "        await Promise.resolve(pieces);",
    tests: ["test/engine/think.test.ts", "test/engine/crash.test.ts"],
  },
  {
    name: "what a model wrote before it broke off is not kept",
    file: "src/engine/think.ts",
    text: "else await writer.flush();",
    by: "else await writer.drop();",
    tests: ["test/engine/think.test.ts"],
  },
  {
    name: "a continued answer loses its beginning",
    file: "src/engine/collect-reply.ts",
    text: "const text = [begun.text];",
    by: 'const text = [""];',
    tests: [drive],
  },
  {
    name: "a pause does not stop the model or the tool in flight",
    file: "src/engine/interrupts.ts",
    text: 'if (statusOf(state) !== "waiting_for_step") controller.abort(new Interrupt("stopped"));',
    by: "",
    tests: [drive],
  },
  {
    name: "a snapshot is written with every event",
    file: "src/engine/agents.ts",
    text: "return grown >= chars / 2;",
    by: "return true;",
    tests: ["test/engine/agents.test.ts"],
  },
];

const sqlite: readonly Fault[] = [
  {
    name: "SQLite: an agent gets the number under which another's events stand aside",
    file: "src/store/sqlite/rows.ts",
    text: "coalesce((SELECT max(agent) FROM staged), 0)",
    by: "0",
    tests: [staged, "test/store/sqlite-staged.test.ts"],
  },
  {
    name: "SQLite: what stands aside is thrown away while it is still gone on with",
    file: "src/store/sqlite/perform-staged.ts",
    text: "oldest.agent_id !== null && oldest.touched > beforeMs",
    by: "oldest.agent_id !== null && oldest.touched < 0",
    tests: ["test/store/sqlite-staged.test.ts"],
  },
  {
    name: "SQLite: a worker that was replaced writes on",
    file: "src/store/sqlite/perform.ts",
    text: "if (held.epoch === epoch) return held;",
    by: "if (held.epoch >= epoch) return held;",
    tests: [lease],
  },
  {
    name: "SQLite: a worker that was replaced keeps its lease",
    file: "src/store/sqlite/perform.ts",
    text: "if (held?.epoch !== epoch || held.worker === null) return true;",
    by: "if (held === null || held.worker === null) return true;",
    tests: [lease],
  },
  {
    name: "SQLite: an append goes behind a head that its writer did not know",
    file: "src/store/sqlite/perform.ts",
    text: "  if (held.head !== after)\n    throw",
    by: "  if (held.head < after)\n    throw",
    tests: [log],
  },
  {
    name: "SQLite: a draft grows behind a pause",
    file: "src/store/sqlite/perform.ts",
    text: '  if (held.status !== "waiting_for_step")\n    throw',
    by: '  if (held.status === "")\n    throw',
    tests: [index],
  },
  {
    name: "SQLite: a draft outlives the answer that it became",
    file: "src/store/sqlite/perform.ts",
    text: "if (write.dropDraft && held.draft_call !== null) {",
    by: "if (write.dropDraft && held.draft_call === '') {",
    tests: [index],
  },
  {
    name: "SQLite: a commit is answered before it is on the disk",
    file: "src/store/sqlite/commit.ts",
    text: 'db.run("PRAGMA synchronous = FULL");',
    by: 'db.run("PRAGMA synchronous = NORMAL");',
    tests: [commit],
  },
  {
    name: "SQLite: a follower is not told of a commit",
    file: "src/store/sqlite/writer.ts",
    text: "if (done.length > 0) parts.committed(done);",
    by: "",
    tests: [log],
  },
  {
    name: "SQLite: an event that was changed is read",
    file: "src/store/sqlite/reads.ts",
    text: "if (!Bun.deepEquals(hash, row.hash) || !Bun.deepEquals(hash, kept))",
    by: "if (hash.length === 0 || kept.length === 0)",
    tests: [changed],
  },
  {
    name: "SQLite: a snapshot of another place is gone on with",
    file: "src/store/sqlite/reads.ts",
    text: "if (last?.sequence === kept.sequence && Bun.deepEquals(hash, kept.hash))",
    by: "if (hash.length > 0)",
    tests: ["test/store/sqlite-snapshot.test.ts"],
  },
  {
    name: "SQLite: the last that came under an id counts",
    file: "src/store/sqlite/rows.ts",
    text: "INSERT OR IGNORE INTO mark",
    by: "INSERT OR REPLACE INTO mark",
    tests: [derived],
  },
  {
    name: "SQLite: work told at letting go is forgotten",
    file: "src/store/sqlite/perform.ts",
    text: "finish(sql, held, wakeAtMs, holder.workedMs);",
    by: "finish(sql, held, wakeAtMs, 0);",
    tests: [work],
  },
  {
    name: "SQLite: who waits is looked for at a time of another life's clock",
    file: "src/store/sqlite/open.ts",
    text: "WHERE wake IS NOT NULL`",
    by: "WHERE worker IS NOT NULL`",
    tests: [clocks],
  },
];

/** Where a promise of the product hangs on one line. */
export const faults: readonly Fault[] = [
  ...staging,
  ...memory,
  ...agent,
  ...answering,
  ...editing,
  ...engine,
  ...sqlite,
  ...redis,
  ...ollama,
  ...openai,
  ...looking,
  ...text,
];
