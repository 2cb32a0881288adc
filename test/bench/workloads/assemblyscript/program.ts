/** All workloads as one module; _start does no work, a command has to have one. */
import "./abort";

export { fib } from "./fib";
export { sieve } from "./sieve";
export { mandel } from "./mandel";
export { sort } from "./sort";
export { sha256 } from "./sha256";
export { matmul } from "./matmul";
export { json } from "./json";
export { vm } from "./vm";
export { objs } from "./objs";
