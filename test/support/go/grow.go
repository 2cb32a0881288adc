// Grow allocates until it dies.
package main

var kept [][]byte

func main() {
	for {
		block := make([]byte, 1<<20)
		block[len(kept)%len(block)] = 1
		kept = append(kept, block)
	}
}
