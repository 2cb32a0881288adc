/** A tool built from tools/src, as the path under which this program can read it. */
declare module "*.wasm" {
  const path: string;
  export default path;
}
