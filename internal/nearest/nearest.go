package nearest

import "strings"

// Word is the one of words that is most like word; "" if none is like it. Capitals
// and the marks between words do not count, and a beginning stands for its word.
func Word(word string, words []string) string {
	best, at := "", 3
	if len(word) > 9 {
		at = 4
	}
	for _, w := range words {
		d := distance(word, w)
		switch short, long := shorterFirst(plain(word), plain(w)); {
		case short == long:
			d = 0
		case len(short) >= 3 && strings.HasPrefix(long, short):
			d = min(d, 2)
		}
		if d < at || d == at && best != "" && w < best {
			best, at = w, d
		}
	}
	if at >= len(best) {
		return ""
	}
	return best
}

func shorterFirst(a, b string) (short, long string) {
	if len(a) <= len(b) {
		return a, b
	}
	return b, a
}

func plain(word string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(word))
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour (optimal string alignment).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 0
			if a[i] != b[j] {
				cost = 1
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
