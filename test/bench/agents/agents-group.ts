import type { Report } from "../report.ts";
import { median } from "../samples.ts";
import { type LongAgent, openLongAgent } from "./long-agent.ts";
import { measureRecovery } from "./recovery.ts";

const turnsOf = { young: 50, old: 50_000 } as const;
const rounds = 15;
/** What one turn carries: its question and its answer. */
const payloadBytes = 190;

/** How an agent's age tells in the start of its steps and in its file, and how long a crash holds many agents up. */
export async function benchAgents(report: Report): Promise<void> {
  const young = await openLongAgent(turnsOf.young);
  const old = await openLongAgent(turnsOf.old);
  try {
    const rows = { young: await starts(young), old: await starts(old) };
    // Alternating, so that what else the machine does falls on both.
    for (let round = 1; round < rounds; round++) {
      await more(young, rows.young);
      await more(old, rows.old);
    }
    report.table(
      ["events", "step start warm", "cold", "bytes a turn"],
      (["young", "old"] as const).map((name) => [
        `${2 * turnsOf[name]}`,
        `${median(rows[name].warm).toFixed(2)} ms`,
        `${median(rows[name].cold).toFixed(2)} ms`,
        (name === "young" ? young : old).bytesPerTurn().toFixed(0),
      ]),
    );
    const ratio = (which: "warm" | "cold"): number =>
      median(rows.old[which]) / median(rows.young[which]);
    report.goal({
      name: "step start, 100,000 events to 100, warm",
      figure: ratio("warm"),
      atMost: 2,
      unit: "x",
    });
    report.goal({
      name: "step start, 100,000 events to 100, cold",
      figure: ratio("cold"),
      atMost: 2,
      unit: "x",
    });
    report.goal({
      name: "bytes stored to bytes said",
      figure: old.bytesPerTurn() / payloadBytes,
      atMost: 3,
      unit: "x",
    });
  } finally {
    await young.close();
    await old.close();
  }
  const { readyMs, goingMs } = await measureRecovery(1_000);
  report.table(
    ["kill -9 with 1,000 agents in mid-answer", "ms from the next start"],
    [
      ["serving", readyMs.toFixed(0)],
      ["all 1,000 at work again", goingMs.toFixed(0)],
    ],
  );
}

type Starts = { readonly warm: number[]; readonly cold: number[] };

const starts = async (agent: LongAgent): Promise<Starts> => {
  const kept: Starts = { warm: [], cold: [] };
  await more(agent, kept);
  return kept;
};

async function more(agent: LongAgent, { warm, cold }: Starts): Promise<void> {
  cold.push(await agent.coldMs());
  warm.push(await agent.warmMs());
}
