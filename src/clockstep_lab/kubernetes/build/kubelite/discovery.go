package main

import (
	"slices"

	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apiserver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/tools/cache"
)

// the groups of custom resources in the plain list of groups; kube-apiserver leaves that to its aggregator
func discoverCustomResources(server *genericapiserver.GenericAPIServer, crds *apiext.CustomResourceDefinitions) error {
	server.DiscoveryGroupManager.AddGroup(discoveryGroup(apiextv1.GroupName, []string{"v1"}))
	list := func() { listGroups(server, crds) }
	informer := crds.Informers.Apiextensions().V1().CustomResourceDefinitions().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { list() },
		UpdateFunc: func(any, any) { list() },
		DeleteFunc: func(any) { list() },
	})
	return err
}

func discoveryGroup(name string, versions []string) metav1.APIGroup {
	g := metav1.APIGroup{Name: name}
	for _, v := range versions {
		g.Versions = append(g.Versions, metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + v, Version: v})
	}
	g.PreferredVersion = g.Versions[0]
	return g
}

// what was listed; only the one handler of events touches it
var listed = map[string]bool{}

func listGroups(server *genericapiserver.GenericAPIServer, crds *apiext.CustomResourceDefinitions) {
	all, err := crds.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister().List(labels.Everything())
	if err != nil {
		return
	}
	versions := map[string][]string{}
	for _, c := range all {
		for _, v := range c.Spec.Versions {
			if v.Served && !slices.Contains(versions[c.Spec.Group], v.Name) {
				versions[c.Spec.Group] = append(versions[c.Spec.Group], v.Name)
			}
		}
	}
	for name := range listed {
		if versions[name] == nil {
			server.DiscoveryGroupManager.RemoveGroup(name)
			delete(listed, name)
		}
	}
	for name, list := range versions {
		server.DiscoveryGroupManager.AddGroup(discoveryGroup(name, list))
		listed[name] = true
	}
}
