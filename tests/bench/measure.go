package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"
)

// timed runs a round of n deliveries and says what one of them took. The CPU time is that of the whole process.
func timed(n int, round func() error) (cost, error) {
	cpu, began := cpuTime(), time.Now()
	if err := round(); err != nil {
		return cost{}, err
	}
	took, used := time.Since(began), cpuTime()-cpu
	return cost{PerSecond: float64(n) / took.Seconds(), CPU: float64(used.Nanoseconds()) / 1e3 / float64(n)}, nil
}

// cpuTime is what this process has used so far, in user and system mode.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// middle takes the median of each figure.
func middle(rounds []cost) cost {
	perSecond, cpu := make([]float64, len(rounds)), make([]float64, len(rounds))
	for i, r := range rounds {
		perSecond[i], cpu[i] = r.PerSecond, r.CPU
	}
	return cost{PerSecond: round(percentile(perSecond, 0.5), 0), CPU: round(percentile(cpu, 0.5), 1)}
}

// percentile is the smallest value that at least the given share of all values does not exceed (nearest rank); for the
// median of an even number of values it is the lower of the two.
func percentile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

func round(value float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(value*scale) / scale
}

// profile makes one more round under the profiler. The measured rounds are left alone.
func profile(ctx context.Context, s settings, p *pipeline) (err error) {
	n := s.deliveries * s.rounds
	if s.cpuProfile != "" {
		file, err := os.Create(s.cpuProfile)
		if err != nil {
			return fmt.Errorf("CPU profile: %w", err)
		}
		defer file.Close() //nolint:errcheck // a profile that is cut short cannot be read, and says so
		if err := pprof.StartCPUProfile(file); err != nil {
			return fmt.Errorf("CPU profile: %w", err)
		}
	}
	err = p.burst(ctx, n)
	pprof.StopCPUProfile()
	if err != nil || s.allocationProfile == "" {
		return err
	}
	file, err := os.Create(s.allocationProfile)
	if err != nil {
		return fmt.Errorf("allocation profile: %w", err)
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
}
