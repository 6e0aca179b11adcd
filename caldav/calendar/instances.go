package calendar

import (
	"time"
)

// Budget limits the work that recurrence rules may cause. One Budget may serve
// many objects of a request: what one uses up the next cannot. A Budget is
// used by one goroutine at a time; a nil *Budget means NewBudget().
type Budget struct {
	Steps     int // periods and dates still allowed to be looked at
	Instances int // instances still allowed to be produced
}

// The defaults of NewBudget: steps cost 10 to 100 ns each.
const (
	DefaultSteps     = 1_000_000
	DefaultInstances = 100_000
)

// NewBudget returns a Budget with the default limits.
func NewBudget() *Budget { return &Budget{Steps: DefaultSteps, Instances: DefaultInstances} }

// Instance is one member of a recurrence set, or the only instance of a
// component that does not recur.
type Instance struct {
	ID         DateTime   // recurrence id in the master's form
	Start, End time.Time  // instants; End is Start where the component has no length
	StartValue DateTime   // the start in the form of the component that describes it
	Component  *Component // describes the instance: the master or an override
	Override   bool       // Component is an override (also one with RANGE=THISANDFUTURE)
	AllDay     bool       // the start is a DATE
}
