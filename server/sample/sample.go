package sample

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxBody is the longest request body in bytes that the sample API reads.
const maxBody = 32 << 20

// Doc is one document of a scan.
type Doc struct {
	ID      string `json:"id"`
	Content string `json:"content"`
}

// ScanRequest is the body of POST /v1/scan.
type ScanRequest struct {
	Docs []Doc `json:"docs"`
}

// ScanResult is what a scan found in one document.
type ScanResult struct {
	ID       string   `json:"id"`
	Risk     int      `json:"risk_score"` // 0 to 100
	Findings []string `json:"findings"`   // why, in the order of the checks
	Counts
}

// ScanResponse answers POST /v1/scan.
type ScanResponse struct {
	Results []ScanResult `json:"results"`
	Summary ScanSummary  `json:"summary"`
	Usage   Usage        `json:"usage"`
}

// ScanSummary sums a scan up.
type ScanSummary struct {
	TotalDocs int `json:"total_docs"`
	Risky     int `json:"risky_docs"` // with a risk score of 50 or more
}

// AnalyzeRequest is the body of POST /v1/analyze.
type AnalyzeRequest struct {
	Texts []string `json:"texts"`
}

// AnalyzeResult is the counts of one text, by its place in the request.
type AnalyzeResult struct {
	Index int `json:"index"`
	Counts
}

// AnalyzeResponse answers POST /v1/analyze.
type AnalyzeResponse struct {
	Results []AnalyzeResult `json:"results"`
	Summary Summary         `json:"summary"`
	Usage   Usage           `json:"usage"`
}

// Summary sums an analysis up.
type Summary struct {
	TotalDocs int `json:"total_docs"`
}

// Usage is what an answer says that it used.
type Usage struct {
	TotalTokens int `json:"total_tokens"`
}

// Problem is the body of a refusal, as in RFC 9457.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

// Handler serves the sample API. It may be used by any number of goroutines.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/scan", scan)
	mux.HandleFunc("POST /v1/analyze", analyze)
	mux.HandleFunc("/v1/scan", onlyPost)
	mux.HandleFunc("/v1/analyze", onlyPost)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", "the sample API has POST /v1/scan and POST /v1/analyze")
	})
	return mux
}

func onlyPost(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", http.MethodPost)
	refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "use POST")
}

func scan(w http.ResponseWriter, r *http.Request) {
	var ask ScanRequest
	if !read(w, r, &ask) {
		return
	}
	if ask.Docs == nil {
		refuse(w, http.StatusBadRequest, "invalid_request", `"docs" is missing: send {"docs": [{"id": "a", "content": "..."}]}`)
		return
	}
	answer := ScanResponse{Results: make([]ScanResult, 0, len(ask.Docs))}
	for _, d := range ask.Docs {
		result := ScanResult{ID: d.ID, Counts: count(d.Content)}
		result.Risk, result.Findings = risk(d.Content)
		if result.Risk >= 50 {
			answer.Summary.Risky++
		}
		answer.Usage.TotalTokens += result.Tokens
		answer.Results = append(answer.Results, result)
	}
	answer.Summary.TotalDocs = len(ask.Docs)
	write(w, http.StatusOK, "application/json", answer)
}

func analyze(w http.ResponseWriter, r *http.Request) {
	var ask AnalyzeRequest
	if !read(w, r, &ask) {
		return
	}
	if ask.Texts == nil {
		refuse(w, http.StatusBadRequest, "invalid_request", `"texts" is missing: send {"texts": ["..."]}`)
		return
	}
	answer := AnalyzeResponse{Results: make([]AnalyzeResult, 0, len(ask.Texts))}
	for i, text := range ask.Texts {
		result := AnalyzeResult{Index: i, Counts: count(text)}
		answer.Usage.TotalTokens += result.Tokens
		answer.Results = append(answer.Results, result)
	}
	answer.Summary.TotalDocs = len(ask.Texts)
	write(w, http.StatusOK, "application/json", answer)
}

// read decodes one JSON value that is all of the body, or refuses the request
// and returns false.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	err := body.Decode(into)
	if err == nil {
		if _, more := body.Token(); more != io.EOF {
			err = errors.New("more follows after the JSON value")
		}
	}
	var long *http.MaxBytesError
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return true
	case errors.As(err, &long):
		refuse(w, http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("the body is longer than %d bytes", maxBody))
	case err == io.EOF:
		refuse(w, http.StatusBadRequest, "invalid_request", "the body is empty; it must be a JSON object")
	case errors.As(err, &wrong):
		refuse(w, http.StatusBadRequest, "invalid_request", fmt.Sprintf("the body's %q must not be a %s", "/"+strings.ReplaceAll(wrong.Field, ".", "/"), wrong.Value))
	default:
		refuse(w, http.StatusBadRequest, "invalid_request", "the body is not the JSON object expected: "+err.Error())
	}
	return false
}

func refuse(w http.ResponseWriter, status int, code, detail string) {
	write(w, status, "application/problem+json", Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code,
	})
}

func write(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // fails only when the client has left, which is no error here
}
