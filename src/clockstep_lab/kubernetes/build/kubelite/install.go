package main

import (
	"context"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiext "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// every built-in kind, at its group and version
func install(server *genericapiserver.GenericAPIServer, cfg *genericapiserver.Config, crds emptying) error {
	stores := map[string]*registry.Store{}
	var infos []*genericapiserver.APIGroupInfo
	for _, g := range groups {
		at := storages(g.gv, g.kinds, cfg.RESTOptionsGetter, stores)
		switch g.gv.Group {
		case authnv1.GroupName:
			at = identityReviews(cfg.Authentication.Authenticator)
		case authzv1.GroupName:
			at = accessReviews(cfg.Authorization.Authorizer)
		}
		info := genericapiserver.NewDefaultAPIGroupInfo(g.gv.Group, scheme, metav1.ParameterCodec, codecs)
		info.VersionedResourcesStorageMap[g.gv.Version] = at
		infos = append(infos, &info)
	}
	core := infos[0].VersionedResourcesStorageMap["v1"]
	core["pods/binding"] = binding{stores["/pods"]}
	core["pods/eviction"] = eviction{stores["/pods"], stores["policy/poddisruptionbudgets"]}
	stores["/namespaces"].AfterDelete = func(o runtime.Object, _ *metav1.DeleteOptions) {
		crds.empty(stores, sure(meta.Accessor(o)).GetName())
	}
	if err := server.InstallLegacyAPIGroup(genericapiserver.DefaultLegacyAPIPrefix, infos[0]); err != nil {
		return err
	}
	return server.InstallAPIGroups(infos[1:]...)
}

// the storages of a group's kinds and of their subresources; the stores are noted
func storages(
	gv schema.GroupVersion, kinds []kindInfo, getter generic.RESTOptionsGetter, stores map[string]*registry.Store,
) map[string]rest.Storage {
	at := map[string]rest.Storage{}
	for _, k := range kinds {
		st := newStore(gv, k, getter)
		stores[gv.Group+"/"+k.plural] = st
		at[k.plural] = &store{st, k.short}
		sub := func(name string, p part) {
			own, s := *st, strategy{scheme, names.SimpleNameGenerator, k, p}
			own.UpdateStrategy, own.ResetFieldsStrategy = s, s
			at[k.plural+"/"+name] = &subresource{&own, s}
		}
		if k.flags&hasStatus != 0 {
			sub("status", status)
		}
		if k.plural == "certificatesigningrequests" {
			sub("approval", approval)
		}
	}
	return at
}

// nothing else empties a namespace here: what was in it goes with it
type emptying struct {
	crds *apiext.CustomResourceDefinitions
	dyn  dynamic.Interface
}

func (e emptying) empty(stores map[string]*registry.Store, namespace string) {
	report := func(err error) {
		if err != nil {
			klog.Errorf("emptying a namespace: %v", err)
		}
	}
	in := genericrequest.WithNamespace(context.Background(), namespace)
	for _, st := range stores {
		if st.CreateStrategy.NamespaceScoped() {
			_, err := st.DeleteCollection(
				in, rest.ValidateAllObjectFunc, metav1.NewDeleteOptions(0), &internalversion.ListOptions{},
			)
			report(err)
		}
	}
	all, err := e.crds.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister().List(labels.Everything())
	report(err)
	for _, c := range all {
		for _, v := range c.Spec.Versions {
			if c.Spec.Scope == apiextv1.NamespaceScoped && v.Storage && v.Served {
				kind := e.dyn.Resource(
					schema.GroupVersionResource{Group: c.Spec.Group, Version: v.Name, Resource: c.Spec.Names.Plural},
				)
				report(kind.Namespace(namespace).DeleteCollection(in, metav1.DeleteOptions{}, metav1.ListOptions{}))
			}
		}
	}
}

// the namespaces that every cluster has, and the role of its administrators
func firstObjects(client kubernetes.Interface) genericapiserver.PostStartHookFunc {
	everything := []string{"*"}
	administrators := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "cluster-admin"},
		Rules: []rbacv1.PolicyRule{
			{Verbs: everything, APIGroups: everything, Resources: everything},
			{Verbs: everything, NonResourceURLs: everything},
		},
	}
	namespaces := []string{
		metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease,
	}
	there := func(err error) bool { return err == nil || apierrors.IsAlreadyExists(err) }
	create := func(ctx context.Context) (bool, error) {
		for _, name := range namespaces {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
			if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); !there(err) {
				return false, nil
			}
		}
		_, err := client.RbacV1().ClusterRoles().Create(ctx, administrators, metav1.CreateOptions{})
		return there(err), nil
	}
	return func(hook genericapiserver.PostStartHookContext) error {
		return wait.PollUntilContextTimeout(hook, 100*time.Millisecond, time.Minute, true, create)
	}
}
