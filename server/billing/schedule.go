package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-co-op/gocron/v2"
)

// Job is work that a [Schedule] does from time to time.
type Job struct {
	Name string
	// Every is how often; 0: by Cron.
	Every time.Duration
	// Cron is minute, hour, day of the month, month and day of the week, in the
	// schedule's zone.
	Cron  string
	Limit time.Duration // how long one run may take
	Do    func(context.Context) error
}

// Jobs is what billing has to do by the clock. None of it depends on being
// called in time, or once: they are nudges, and the work is what the ledger says
// is not done.
func (b *Billing) Jobs() []Job {
	runAt := int(b.settings.Load().RunAt / time.Minute)
	jobs := []Job{
		{Name: "monthly run", Cron: fmt.Sprintf("%d %d 1 * *", runAt%60, runAt/60), Limit: 12 * time.Hour, Do: b.Work},
		{Name: "billing", Every: time.Minute, Limit: 12 * time.Hour, Do: b.Work}, // grace ends, retries, mails
		{Name: "notices", Every: 30 * time.Second, Limit: 5 * time.Minute, Do: b.Deliver},
	}
	if b.Provider != nil {
		jobs = append(jobs, Job{Name: "provider's events", Every: 5 * time.Minute, Limit: 10 * time.Minute, Do: b.Poll})
	}
	return jobs
}

// JobState is how a job stands.
type JobState struct {
	Name  string    `json:"name"`
	Next  time.Time `json:"next,omitzero"`
	Began time.Time `json:"began,omitzero"` // the last run
	Ended time.Time `json:"ended,omitzero"` // before Began: it runs
	Runs  int       `json:"runs"`
	Error string    `json:"error,omitempty"` // of the last run
}

// Schedule runs jobs by the system's clock, each never twice at once. It keeps
// nothing: what is due after a start is done then.
type Schedule struct {
	cron gocron.Scheduler
	jobs []gocron.Job
	stop context.CancelFunc

	running sync.WaitGroup
	mu      sync.Mutex
	stopped bool // nothing begins any more
	states  []JobState
}

// stopWithin is how long jobs may take to end when they were told to.
const stopWithin = time.Minute

// Start begins to run jobs, those that come often at once.
func Start(zone *time.Location, log *slog.Logger, now func() time.Time, jobs []Job) (*Schedule, error) {
	cron, err := gocron.NewScheduler(gocron.WithLocation(zone), gocron.WithStopTimeout(time.Second))
	if err != nil {
		return nil, fmt.Errorf("make the schedule: %w", err)
	}
	running, stop := context.WithCancel(context.Background())
	s := &Schedule{cron: cron, stop: stop, states: make([]JobState, len(jobs))}
	for n, job := range jobs {
		s.states[n].Name = job.Name
		when, begin := gocron.CronJob(job.Cron, false), []gocron.JobOption{}
		if job.Every > 0 {
			when, begin = gocron.DurationJob(job.Every), append(begin, gocron.WithStartAt(gocron.WithStartImmediately()))
		}
		task := gocron.NewTask(func() { s.run(running, n, job, log, now) })
		made, err := cron.NewJob(when, task, append(begin, gocron.WithName(job.Name), gocron.WithSingletonMode(gocron.LimitModeReschedule))...)
		if err != nil {
			stop()
			return nil, errors.Join(fmt.Errorf("schedule %s: %w", job.Name, err), cron.Shutdown())
		}
		s.jobs = append(s.jobs, made)
	}
	cron.Start()
	return s, nil
}

func (s *Schedule) run(ctx context.Context, n int, job Job, log *slog.Logger, now func() time.Time) {
	ctx, cancel := context.WithTimeout(ctx, job.Limit)
	defer cancel()
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	s.running.Add(1)
	defer s.running.Done()
	s.states[n].Began = now()
	s.mu.Unlock()
	err := job.Do(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	state := &s.states[n]
	before := state.Error
	state.Ended, state.Error = now(), ""
	state.Runs++
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	if state.Error = err.Error(); state.Error != before { // the same each minute says nothing new
		log.Error("scheduled work failed; it will be tried again", "job", job.Name, "error", err)
	}
}

// States lists the jobs as they stand.
func (s *Schedule) States() []JobState {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.states)
	for n := range list {
		if next, err := s.jobs[n].NextRun(); err == nil {
			list[n].Next = next.UTC()
		}
	}
	return list
}

// Stop ends the running jobs and waits for them, for a minute at most.
func (s *Schedule) Stop() error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.stop()
	// gocron would wait for them in a loop that never rests.
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		close(ended)
	}()
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	var err error
	select {
	case <-ended:
	case <-late.C:
		err = errors.New("scheduled work does not end")
	}
	if err := errors.Join(err, s.cron.Shutdown()); err != nil {
		return fmt.Errorf("stop the schedule: %w", err)
	}
	return nil
}
