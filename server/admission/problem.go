package admission

import "net/http"

// WriteProblem answers a call with a refusal.
func WriteProblem(w http.ResponseWriter, r *Refusal) { panic("not built yet") }

// SetLimitHeaders sets the RateLimit headers of the limits in force.
func SetLimitHeaders(h http.Header, limits []Limit) { panic("not built yet") }
