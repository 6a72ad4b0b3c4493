// Kubeflow Trainer's and JobSet's controllers in one process, for side-by-side measurements.
//
// It does what the two projects' own mains do, with these differences: the client's rate limit and
// the number of workers are flags, and there are no webhooks (so no certificates either). What
// JobSet's defaulting webhook would fill in stands in the training runtime that the benchmark
// makes. One shared cache serves both, where a deployment has two processes with a cache each.
package main

import (
	"flag"
	"fmt"
	"os"

	apiruntime "k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	ctrlpkg "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
	jobsetcontrollers "sigs.k8s.io/jobset/pkg/controllers"
	schedulerplugins "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	trainer "github.com/kubeflow/trainer/v2/pkg/apis/trainer/v1alpha1"
	"github.com/kubeflow/trainer/v2/pkg/controller"
	runtimecore "github.com/kubeflow/trainer/v2/pkg/runtime/core"
)

func main() {
	qps := flag.Float64("kube-api-qps", 10000, "requests a second that the client may send")
	burst := flag.Int("kube-api-burst", 10000, "requests that the client may send at once")
	workers := flag.Int("workers", 1, "objects that each controller reconciles at the same time")
	probe := flag.String("health-probe-bind-address", "0", "where /healthz and /readyz answer")
	options := zap.Options{}
	options.BindFlags(flag.CommandLine)
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&options)))
	if err := run(float32(*qps), *burst, *workers, *probe); err != nil {
		fmt.Fprintln(os.Stderr, "trainer peer:", err)
		os.Exit(1)
	}
}

func run(qps float32, burst, workers int, probe string) error {
	kubeconfig, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	kubeconfig.QPS, kubeconfig.Burst = qps, burst
	mgr, err := ctrl.NewManager(kubeconfig, ctrl.Options{
		Scheme:                 newScheme(),
		Client:                 client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		Controller:             config.Controller{MaxConcurrentReconciles: workers},
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: probe,
	})
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	runtimes, err := runtimecore.New(ctx, mgr.GetClient(), mgr.GetFieldIndexer())
	if err != nil {
		return fmt.Errorf("training runtimes: %w", err)
	}
	if name, err := controller.SetupControllers(mgr, runtimes, ctrlpkg.Options{}); err != nil {
		return fmt.Errorf("controller %s: %w", name, err)
	}
	if err := jobsetcontrollers.SetupJobSetIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("index of Jobs: %w", err)
	}
	if err := jobsetcontrollers.SetupPodIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("index of Pods: %w", err)
	}
	sets := jobsetcontrollers.NewJobSetReconciler(
		mgr.GetClient(), mgr.GetScheme(), mgr.GetEventRecorderFor("jobset"))
	if err := sets.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("controller JobSet: %w", err)
	}
	pods := jobsetcontrollers.NewPodReconciler(
		mgr.GetClient(), mgr.GetScheme(), mgr.GetEventRecorderFor("pod"))
	if err := pods.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("controller Pod: %w", err)
	}
	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func newScheme() *apiruntime.Scheme {
	scheme := apiruntime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(trainer.AddToScheme(scheme))
	utilruntime.Must(jobset.AddToScheme(scheme))
	utilruntime.Must(schedulerplugins.AddToScheme(scheme))
	return scheme
}
