package main

import (
	"context"
	"fmt"
	"strings"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
)

// roles and bindings decide; system:masters may do everything, everybody known may look at the discovery paths
type rbac struct {
	informers informers.SharedInformerFactory
}

func (r rbac) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	u := a.GetUser()
	in := map[string]bool{}
	for _, g := range u.GetGroups() {
		in[g] = true
	}
	if in[user.SystemPrivilegedGroup] {
		return authorizer.DecisionAllow, "", nil
	}
	if !a.IsResourceRequest() && a.GetVerb() == "get" {
		for _, p := range []string{"/healthz", "/livez", "/readyz", "/version"} {
			if a.GetPath() == p {
				return authorizer.DecisionAllow, "", nil
			}
		}
		for _, p := range []string{"/api", "/apis", "/openapi"} {
			if in[user.AllAuthenticated] && (a.GetPath() == p || strings.HasPrefix(a.GetPath(), p+"/")) {
				return authorizer.DecisionAllow, "", nil
			}
		}
	}
	reviews := a.GetAPIGroup() == authzv1.GroupName || a.GetAPIGroup() == authnv1.GroupName
	ofSelf := a.IsResourceRequest() && reviews && strings.HasPrefix(a.GetResource(), "selfsubject")
	if ofSelf && in[user.AllAuthenticated] && a.GetVerb() == "create" {
		return authorizer.DecisionAllow, "", nil
	}
	l := r.informers.Rbac().V1()
	applies := func(subjects []rbacv1.Subject, ns string) bool {
		for _, s := range subjects {
			if s.Namespace != "" {
				ns = s.Namespace
			}
			if (s.Kind == rbacv1.UserKind && s.Name == u.GetName()) || (s.Kind == rbacv1.GroupKind && in[s.Name]) ||
				(s.Kind == rbacv1.ServiceAccountKind && u.GetName() == "system:serviceaccount:"+ns+":"+s.Name) {
				return true
			}
		}
		return false
	}
	rules := func(ref rbacv1.RoleRef, ns string) []rbacv1.PolicyRule {
		if ref.Kind == "Role" {
			if role, err := l.Roles().Lister().Roles(ns).Get(ref.Name); err == nil {
				return role.Rules
			}
		} else if role, err := l.ClusterRoles().Lister().Get(ref.Name); err == nil {
			return role.Rules
		}
		return nil
	}
	all, err := l.ClusterRoleBindings().Lister().List(labels.Everything())
	if err != nil {
		return authorizer.DecisionNoOpinion, "", err
	}
	for _, b := range all {
		if applies(b.Subjects, "") && allowed(a, rules(b.RoleRef, "")) {
			return authorizer.DecisionAllow, fmt.Sprintf("RBAC: allowed by ClusterRoleBinding %q", b.Name), nil
		}
	}
	if ns := a.GetNamespace(); ns != "" {
		local, err := l.RoleBindings().Lister().RoleBindings(ns).List(labels.Everything())
		if err != nil {
			return authorizer.DecisionNoOpinion, "", err
		}
		for _, b := range local {
			if applies(b.Subjects, ns) && allowed(a, rules(b.RoleRef, ns)) {
				return authorizer.DecisionAllow, fmt.Sprintf("RBAC: allowed by RoleBinding %q", b.Name+"/"+ns), nil
			}
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func allowed(a authorizer.Attributes, rules []rbacv1.PolicyRule) bool {
	has := func(list []string, want string) bool {
		for _, v := range list {
			if v == want || v == "*" {
				return true
			}
		}
		return false
	}
	for _, r := range rules {
		if !has(r.Verbs, a.GetVerb()) {
			continue
		}
		if !a.IsResourceRequest() {
			for _, p := range r.NonResourceURLs {
				if p == a.GetPath() || (strings.HasSuffix(p, "*") && strings.HasPrefix(
					a.GetPath(), strings.TrimSuffix(p, "*"),
				)) {
					return true
				}
			}
			continue
		}
		res := a.GetResource()
		if sub := a.GetSubresource(); sub != "" {
			res += "/" + sub
			if has(r.APIGroups, a.GetAPIGroup()) && has(r.Resources, "*/"+sub) && len(r.ResourceNames) == 0 {
				return true
			}
		}
		if has(r.APIGroups, a.GetAPIGroup()) && has(r.Resources, res) {
			named := len(r.ResourceNames) == 0
			for _, n := range r.ResourceNames {
				named = named || n == a.GetName()
			}
			if named {
				return true
			}
		}
	}
	return false
}
