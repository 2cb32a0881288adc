import type { Database, SQLQueryBindings, Statement } from "bun:sqlite";
import { messageOf } from "../../../errors.ts";
import { makeMarkCount, type MarkCount } from "../../audit/derived.ts";
import { Fault, type Place, startOf } from "../../audit/log.ts";
import { checkHead } from "../../audit/row.ts";
import { checkRow, checkWake, type FoundAgent, knowsHead } from "./agent.ts";
import { type DerivedAudit, openDerivedAudit } from "./derived.ts";
import { type LogAudit, openLogAudit } from "./log.ts";

/** An agent as the walk through all of them finds it. */
export type AuditedAgent = { readonly id: number; readonly agentId: string };

/** Shows that a database is what was written; reads only, in transactions of a page each, so that an engine can write beside it. */
export interface FileAudit {
  /** The next agents behind row `after` (0: the first ones), in the order in which they were made; none: the end. */
  agents(after: number): readonly AuditedAgent[];
  find(agentId: string): AuditedAgent | null;
  /** How many there are, and their events: to show how far a walk is. */
  size(): { readonly agents: number; readonly events: number };
  /** Walks one agent, yielding the events read at each page; returns the first thing wrong in plain words, null: nothing. */
  agent(agent: AuditedAgent): Generator<number, string | null>;
  close(): void;
}

/**
 * `db` is left open; of one of format 1, which keeps no checks, the logs alone are walked. `strict`: what
 * no changed byte explains counts too, such as an agent that nobody would look at.
 */
export function openAudit(db: Database, format: number, strict: boolean): FileAudit {
  const finalizers: (() => void)[] = [];
  const prepare = <Row, Params extends SQLQueryBindings[]>(text: string) => {
    const statement = db.prepare<Row, Params>(text);
    finalizers.push(() => statement.finalize());
    return statement;
  };
  const row = prepare<FoundAgent, [number]>("SELECT * FROM agent WHERE id = ?");
  const find = prepare<{ id: number }, [string]>("SELECT id FROM agent WHERE agent_id = ?");
  const page = prepare<AuditedAgent, [number]>(
    "SELECT id, agent_id AS agentId FROM agent NOT INDEXED WHERE id > ? ORDER BY id LIMIT 256",
  );
  const size = prepare<{ agents: number; events: number }, []>(
    "SELECT count(*) AS agents, coalesce(sum(head), 0) AS events FROM agent",
  );
  const logs = openLogAudit(db);
  const derived = format === 1 ? null : openDerivedAudit(db);
  finalizers.push(logs.finalize);
  if (derived !== null) finalizers.push(derived.finalize);

  const step = makeStep({ row, find, logs, derived, strict });
  return {
    agents: (after) => page.all(after),
    find: (agentId) => {
      const found = find.get(agentId);
      return found === null ? null : { id: found.id, agentId };
    },
    size: () => size.get() ?? { agents: 0, events: 0 },
    *agent(agent) {
      if (typeof agent.agentId !== "string") return "its id was changed";
      const walk: Walk = { place: startOf(agent.agentId), marks: makeMarkCount() };
      try {
        logs.begin(agent.id);
        for (;;) {
          const before = walk.place.sequence;
          if (db.transaction(() => step(agent, walk))()) return null;
          yield walk.place.sequence - before;
        }
      } catch (error) {
        return error instanceof Fault ? error.message : `it cannot be read: ${messageOf(error)}`;
      }
    },
    close: () => {
      for (const finalize of finalizers) finalize();
    },
  };
}

type Walk = { place: Place; readonly marks: MarkCount };

type Parts = {
  readonly row: Statement<FoundAgent, [number]>;
  readonly find: Statement<{ id: number }, [string]>;
  readonly logs: LogAudit;
  readonly derived: DerivedAudit | null;
  readonly strict: boolean;
};

/** One page of an agent's walk; true at the end of its log, where all else was compared with it. */
function makeStep({ row, find, logs, derived, strict }: Parts) {
  return (agent: AuditedAgent, walk: Walk): boolean => {
    const found = row.get(agent.id);
    if (found === null) return true; // Deleted meanwhile.
    const { id } = found;
    const head = derived === null || knowsHead(found) ? found.head : null;
    const snapshotAt = derived?.snapshotAt(id) ?? null;
    if (snapshotAt !== null && head !== null && snapshotAt > head)
      throw new Fault(`its snapshot is of event ${snapshotAt}, its log ends at ${head}`);
    const ahead = snapshotAt !== null && snapshotAt > walk.place.sequence;
    const { events, place } = logs.next(
      { id, head, until: ahead ? snapshotAt : Infinity },
      walk.place,
    );
    if (derived !== null)
      for (const logged of events) walk.marks.seen(logged, (key) => derived.mark(id, key));
    walk.place = place;
    if (place.sequence === snapshotAt) derived?.checkSnapshot(id, place);
    if (events.length > 0) return false;
    checkHead(found, place);
    if (derived !== null) checkRow(found, place);
    if (derived !== null) walk.marks.end(derived.marks(id));
    derived?.checkDraft(found, strict);
    if (strict) checkWake(found);
    if (find.get(agent.agentId)?.id !== id) throw new Fault("it cannot be found by its id");
    return true;
  };
}
