// Command go-program runs six pieces of ordinary Go code and prints how many milliseconds each took.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"
)

func digests() int {
	block := make([]byte, 1<<16)
	sum := 0
	for i := range 40 {
		block[0] = byte(i)
		digest := sha256.Sum256(block)
		sum += int(digest[0])
	}
	return sum
}

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

type person struct {
	Name    string            `json:"name"`
	Age     int               `json:"age"`
	Friends []string          `json:"friends"`
	Notes   map[string]string `json:"notes"`
}

func roundTrips() int {
	people := make([]person, 100)
	for i := range people {
		people[i] = person{
			Name:    fmt.Sprintf("person %d", i),
			Age:     i,
			Friends: []string{"ann", "bob", "cleo"},
			Notes:   map[string]string{"a": "one", "b": "two \"quoted\""},
		}
	}
	total := 0
	for range 10 {
		text, err := json.Marshal(people)
		if err != nil {
			panic(err)
		}
		var back []person
		if err := json.Unmarshal(text, &back); err != nil {
			panic(err)
		}
		total += len(text) + len(back)
	}
	return total
}

func sorted() int {
	numbers := make([]int, 200_000)
	seed := uint32(1)
	for i := range numbers {
		seed = seed*1664525 + 1013904223
		numbers[i] = int(seed >> 8)
	}
	sort.Ints(numbers)
	return numbers[len(numbers)/2]
}

func counted() int {
	counts := map[int]int{}
	for i := range 300_000 {
		counts[(i*7919)%5000]++
	}
	return len(counts)
}

func built() int {
	var text strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&text, "word%d ", i%100)
	}
	words := strings.Fields(strings.ToUpper(text.String()))
	return len(words) + strings.Count(text.String(), "word42") + len(strings.Join(words, ","))
}

func main() {
	pieces := []struct {
		name string
		run  func() int
	}{
		{"sha", digests},
		{"fib", func() int { return fib(27) }},
		{"json", roundTrips},
		{"sort", sorted},
		{"map", counted},
		{"str", built},
	}
	type timing struct {
		Name   string  `json:"name"`
		Result int     `json:"result"`
		Ms     float64 `json:"ms"`
	}
	timings := []timing{}
	for _, piece := range pieces {
		start := time.Now()
		result := piece.run()
		timings = append(timings, timing{piece.name, result, float64(time.Since(start).Nanoseconds()) / 1e6})
	}
	if err := json.NewEncoder(os.Stdout).Encode(timings); err != nil {
		panic(err)
	}
}
