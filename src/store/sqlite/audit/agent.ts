import { Fault, type Place } from "../../audit/log.ts";
import { checkFacts, parsed } from "../../audit/row.ts";
import { stateVersion } from "../../codec.ts";
import { birthCheck, draftCheck, headCheck, leaseCheck, specCheck } from "../checks.ts";
import type { Held } from "../rows.ts";

/** An agent's row as it is found. Its columns are used once its checks hold: until then they may be of any type. */
export type FoundAgent = Held & {
  readonly created_at: number;
  readonly request_id: string | null;
  readonly request_digest: string | null;
  readonly birth_check: number;
  readonly spec: string;
  readonly parent: string;
  readonly spec_check: number;
  readonly lease_check: number;
  readonly wake: number | null;
};

/** That an agent's row is what its log gives, but for its end. Throws Fault. */
export function checkRow(row: FoundAgent, { state }: Place): void {
  checkChecks(row);
  // Another version may have folded the log to another state.
  if (state === null || row.version !== stateVersion) return;
  checkFacts(
    {
      status: row.status,
      reason: row.reason,
      stats: parsed(row.stats, "stats"),
      parent: parsed(row.parent, "parent"),
      createdAtMs: row.created_at,
      updatedAtMs: row.updated_at,
      spec: parsed(row.spec, "spec"),
    },
    state,
  );
}

/** Whether the row's end of the log is what was written. */
export const knowsHead = (row: FoundAgent): boolean => headCheck(row) === row.head_check;

/** That somebody will look at an agent that has work. Throws Fault. */
export function checkWake({ status, wake }: FoundAgent): void {
  if (status === "waiting_for_step" && wake === null)
    throw new Fault("it waits for a step, but has no wake time");
}

function checkChecks(row: FoundAgent): void {
  const groups = [
    ["its index row was changed: who it is, or when it was made", birthCheck(row), row.birth_check],
    ["its index row was changed: its goal, settings or parent", specCheck(row), row.spec_check],
    ["its index row was changed: its status, place or counts", headCheck(row), row.head_check],
    ["its index row was changed: who drives it", leaseCheck(row), row.lease_check],
    ["its draft was changed", draftCheck(row), row.draft_check],
  ] as const;
  for (const [fault, found, kept] of groups) if (found !== kept) throw new Fault(fault);
}
