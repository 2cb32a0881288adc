/** A script as the text that it is. */
declare module "*.lua" {
  const text: string;
  export default text;
}
