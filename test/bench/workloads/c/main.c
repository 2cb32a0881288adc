/* A command has to have one; the workloads are called one by one. */
int main(void) { return 0; }
