package sample

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Counts is what both calls tell of a text.
type Counts struct {
	Characters int `json:"characters"`
	Words      int `json:"words"`
	Tokens     int `json:"tokens"`
}

// count measures a text. A token is four started bytes, a rough but exactly
// repeatable figure; it is what usage.total_tokens adds up.
func count(text string) Counts {
	return Counts{
		Characters: utf8.RuneCountInString(text),
		Words:      len(strings.Fields(text)),
		Tokens:     (len(text) + 3) / 4,
	}
}

// risk scores a text from 0 to 100 by a few plain checks and names those that
// struck.
func risk(text string) (score int, findings []string) {
	findings = []string{}
	lower := strings.ToLower(text)
	for _, check := range []struct {
		finding string
		points  int
		struck  bool
	}{
		{"credential", 40, containsAny(lower, "password", "secret", "api key", "private key")},
		{"number_like_a_card", 40, longestDigits(text) >= 13},
		{"e_mail_address", 20, hasAddress(text)},
		{"urgent_words", 15, containsAny(lower, "urgent", "immediately", "wire transfer")},
	} {
		if check.struck {
			score += check.points
			findings = append(findings, check.finding)
		}
	}
	return min(score, 100), findings
}

func containsAny(text string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// longestDigits is the length of the longest run of digits, where single spaces
// and hyphens between them do not end the run.
func longestDigits(text string) int {
	longest, run, gap := 0, 0, false
	for _, r := range text {
		switch {
		case unicode.IsDigit(r):
			run++
			longest, gap = max(longest, run), false
		case (r == ' ' || r == '-') && run > 0 && !gap:
			gap = true
		default:
			run, gap = 0, false
		}
	}
	return longest
}

func hasAddress(text string) bool {
	for _, word := range strings.Fields(text) {
		local, domain, at := strings.Cut(word, "@")
		if at && local != "" && strings.Contains(strings.Trim(domain, ".,;:!?"), ".") {
			return true
		}
	}
	return false
}
