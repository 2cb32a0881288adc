import { readFile } from "node:fs/promises";
import { serverLimits } from "../limits.ts";

/** How many connections the port may hold: its own bound, less where the process may open fewer descriptors. */
export const connectionsAllowed = async (): Promise<number> => {
  const limits = await readFile("/proc/self/limits", "utf8").catch(() => "");
  const descriptors = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
  if (descriptors === undefined) return serverLimits.connectionsMaxUnknown;
  if (descriptors === "unlimited") return serverLimits.connectionsMax;
  const free = Number(descriptors) - serverLimits.descriptorsReserved;
  return Math.max(1, Math.min(serverLimits.connectionsMax, free));
};
