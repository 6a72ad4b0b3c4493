// kube-network-policies as a process of the node, beside the kubelet.
//
// Its own binary takes its credentials from a pod's token only; the controller is a package, so this
// main gives it a kubeconfig and answers /healthz once it knows all policies, pods and namespaces.
package main

import (
	"context"
	"flag"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig file")
	node := flag.String("node", "", "name of the node")
	health := flag.String("health", "", "address of /healthz, as 127.0.0.1:9080")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	check(err)
	client, err := kubernetes.NewForConfig(config)
	check(err)
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		factory.Networking().V1().NetworkPolicies(),
		factory.Core().V1().Namespaces(),
		factory.Core().V1().Pods(),
		nil, nil, nil, nil,
		// Packets wait for a verdict: without a controller, connections that a policy concerns fail.
		// The workaround for DNS races is not needed: DNS is a process of the node here.
		// NRIdisabled would end in a nil pointer (v0.8); without a socket it only logs.
		networkpolicy.Config{NodeName: *node},
	)
	check(err)
	factory.Start(ctx.Done())
	go serve(*health, factory, ctx.Done())
	check(controller.Run(ctx))
}

func serve(address string, factory informers.SharedInformerFactory, stop <-chan struct{}) {
	factory.WaitForCacheSync(stop)
	http.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	check(http.ListenAndServe(address, nil))
}

func check(err error) {
	if err != nil {
		klog.ErrorS(err, "kube-network-policies ends")
		os.Exit(1)
	}
}
