package main

import (
	"strings"

	admregv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func set[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

func setString[T ~string](p *T, v T) {
	if *p == "" {
		*p = v
	}
}

func defaultMatch(m *admregv1.MatchResources) {
	set(&m.NamespaceSelector, metav1.LabelSelector{})
	set(&m.ObjectSelector, metav1.LabelSelector{})
	set(&m.MatchPolicy, admregv1.Equivalent)
	for _, rules := range [][]admregv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			set(&rules[i].Scope, admregv1.AllScopes)
		}
	}
}

func defaultPodSpec(s *corev1.PodSpec) {
	setString(&s.RestartPolicy, corev1.RestartPolicyAlways)
	setString(&s.DNSPolicy, corev1.DNSClusterFirst)
	setString(&s.SchedulerName, corev1.DefaultSchedulerName)
	set(&s.TerminationGracePeriodSeconds, int64(corev1.DefaultTerminationGracePeriodSeconds))
	set(&s.SecurityContext, corev1.PodSecurityContext{})
	for _, containers := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range containers {
			c := &containers[i]
			setString(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
			setString(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
			policy := corev1.PullIfNotPresent
			tail := c.Image[strings.LastIndex(c.Image, "/")+1:]
			if !strings.Contains(tail, ":") || strings.HasSuffix(tail, ":latest") {
				policy = corev1.PullAlways
			}
			setString(&c.ImagePullPolicy, policy)
		}
	}
}

func registerDefaults() {
	add := func(obj runtime.Object, f func(any)) { scheme.AddTypeDefaultingFunc(obj, f) }
	add(&corev1.Pod{}, func(o any) { defaultPodSpec(&o.(*corev1.Pod).Spec) })
	add(&corev1.Namespace{}, func(o any) { setString(&o.(*corev1.Namespace).Status.Phase, corev1.NamespaceActive) })
	add(&corev1.Secret{}, func(o any) { setString(&o.(*corev1.Secret).Type, corev1.SecretTypeOpaque) })
	add(&appsv1.DaemonSet{}, func(o any) {
		s := &o.(*appsv1.DaemonSet).Spec
		setString(&s.UpdateStrategy.Type, appsv1.RollingUpdateDaemonSetStrategyType)
		if s.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
			set(&s.UpdateStrategy.RollingUpdate, appsv1.RollingUpdateDaemonSet{})
			set(&s.UpdateStrategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
			set(&s.UpdateStrategy.RollingUpdate.MaxSurge, intstr.FromInt32(0))
		}
		set(&s.RevisionHistoryLimit, int32(10))
		defaultPodSpec(&s.Template.Spec)
	})
	add(&appsv1.Deployment{}, func(o any) {
		s := &o.(*appsv1.Deployment).Spec
		set(&s.Replicas, int32(1))
		setString(&s.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
		if s.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
			set(&s.Strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
			set(&s.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
			set(&s.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
		}
		set(&s.RevisionHistoryLimit, int32(10))
		set(&s.ProgressDeadlineSeconds, int32(600))
		defaultPodSpec(&s.Template.Spec)
	})
	add(&appsv1.ReplicaSet{}, func(o any) {
		s := &o.(*appsv1.ReplicaSet).Spec
		set(&s.Replicas, int32(1))
		defaultPodSpec(&s.Template.Spec)
	})
	add(&appsv1.StatefulSet{}, func(o any) {
		s := &o.(*appsv1.StatefulSet).Spec
		set(&s.Replicas, int32(1))
		set(&s.RevisionHistoryLimit, int32(10))
		setString(&s.PodManagementPolicy, appsv1.OrderedReadyPodManagement)
		setString(&s.UpdateStrategy.Type, appsv1.RollingUpdateStatefulSetStrategyType)
		defaultPodSpec(&s.Template.Spec)
	})
	add(&admregv1.ValidatingAdmissionPolicy{}, func(o any) {
		s := &o.(*admregv1.ValidatingAdmissionPolicy).Spec
		set(&s.FailurePolicy, admregv1.Fail)
		if s.MatchConstraints != nil {
			defaultMatch(s.MatchConstraints)
		}
	})
	add(&admregv1.MutatingAdmissionPolicy{}, func(o any) {
		s := &o.(*admregv1.MutatingAdmissionPolicy).Spec
		set(&s.FailurePolicy, admregv1.Fail)
		if s.MatchConstraints != nil {
			defaultMatch(s.MatchConstraints)
		}
	})
	add(&admregv1.ValidatingAdmissionPolicyBinding{}, func(o any) {
		if m := o.(*admregv1.ValidatingAdmissionPolicyBinding).Spec.MatchResources; m != nil {
			defaultMatch(m)
		}
	})
	add(&admregv1.MutatingAdmissionPolicyBinding{}, func(o any) {
		if m := o.(*admregv1.MutatingAdmissionPolicyBinding).Spec.MatchResources; m != nil {
			defaultMatch(m)
		}
	})
	add(&admregv1.ValidatingWebhookConfiguration{}, func(o any) {
		hooks := o.(*admregv1.ValidatingWebhookConfiguration).Webhooks
		for i := range hooks {
			w := &hooks[i]
			defaultHook(
				&w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector, &w.TimeoutSeconds, w.Rules,
			)
		}
	})
	add(&admregv1.MutatingWebhookConfiguration{}, func(o any) {
		hooks := o.(*admregv1.MutatingWebhookConfiguration).Webhooks
		for i := range hooks {
			w := &hooks[i]
			defaultHook(
				&w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector, &w.TimeoutSeconds, w.Rules,
			)
			set(&w.ReinvocationPolicy, admregv1.NeverReinvocationPolicy)
		}
	})
	subjects := func(ref *rbacv1.RoleRef, list []rbacv1.Subject) {
		setString(&ref.APIGroup, rbacv1.GroupName)
		for i := range list {
			if list[i].Kind != rbacv1.ServiceAccountKind {
				setString(&list[i].APIGroup, rbacv1.GroupName)
			}
		}
	}
	add(&rbacv1.RoleBinding{}, func(o any) { b := o.(*rbacv1.RoleBinding); subjects(&b.RoleRef, b.Subjects) })
	add(&rbacv1.ClusterRoleBinding{}, func(o any) {
		b := o.(*rbacv1.ClusterRoleBinding)
		subjects(&b.RoleRef, b.Subjects)
	})
}

func defaultHook(
	f **admregv1.FailurePolicyType, m **admregv1.MatchPolicyType, ns, obj **metav1.LabelSelector, timeout **int32,
	rules []admregv1.RuleWithOperations,
) {
	set(f, admregv1.Fail)
	set(m, admregv1.Equivalent)
	set(ns, metav1.LabelSelector{})
	set(obj, metav1.LabelSelector{})
	set(timeout, int32(10))
	for i := range rules {
		set(&rules[i].Scope, admregv1.AllScopes)
	}
}
