package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"strings"

	admregv1 "k8s.io/api/admissionregistration/v1"
	certsv1 "k8s.io/api/certificates/v1"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celplugin "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
)

func (s strategy) Validate(ctx context.Context, o runtime.Object) field.ErrorList {
	m := sure(meta.Accessor(o))
	check := apivalidation.NameIsDNSSubdomain
	if s.has(pathName) {
		check = path.ValidatePathSegmentName
	} else if _, ns := o.(*corev1.Namespace); ns {
		check = apivalidation.ValidateNamespaceName
	}
	errs := apivalidation.ValidateObjectMetaAccessor(m, s.NamespaceScoped(), check, field.NewPath("metadata"))
	spec := field.NewPath("spec")
	switch o := o.(type) {
	case *corev1.Pod:
		if len(o.Spec.Containers) == 0 {
			errs = append(errs, field.Required(spec.Child("containers"), ""))
		}
		for i, c := range o.Spec.Containers {
			if c.Name == "" {
				errs = append(errs, field.Required(spec.Child("containers").Index(i).Child("name"), ""))
			}
			if c.Image == "" {
				errs = append(errs, field.Required(spec.Child("containers").Index(i).Child("image"), ""))
			}
		}
	case *corev1.Event:
		ns, about := m.GetNamespace(), o.InvolvedObject.Namespace
		need := func(name, value string, limit int) {
			if value == "" {
				errs = append(errs, field.Required(field.NewPath(name), ""))
			} else if len(value) > limit {
				errs = append(errs, field.TooLong(field.NewPath(name), value, limit))
			}
		}
		newer := !o.EventTime.IsZero() // that is one of events.k8s.io
		home := ns == metav1.NamespaceDefault || (newer && ns == metav1.NamespaceSystem)
		if about != ns && !(about == "" && home) {
			at := field.NewPath("involvedObject", "namespace")
			errs = append(errs, field.Invalid(at, about, "does not match event.namespace"))
		}
		if newer {
			need("reportingController", o.ReportingController, 128)
			need("reportingInstance", o.ReportingInstance, 128)
			need("action", o.Action, 128)
			need("reason", o.Reason, 128)
			if len(o.Message) > 1024 {
				errs = append(errs, field.TooLong(field.NewPath("message"), "", 1024))
			}
		}
	case *coordv1.Lease:
		if d := o.Spec.LeaseDurationSeconds; d != nil && *d <= 0 {
			errs = append(errs, field.Invalid(spec.Child("leaseDurationSeconds"), *d, "must be greater than 0"))
		}
		if n := o.Spec.LeaseTransitions; n != nil && *n < 0 {
			errs = append(errs, field.Invalid(spec.Child("leaseTransitions"), *n, "must be greater than or equal to 0"))
		}
	case *certsv1.CertificateSigningRequest:
		if block, _ := pem.Decode(o.Spec.Request); block == nil || block.Type != "CERTIFICATE REQUEST" {
			errs = append(errs, field.Invalid(spec.Child("request"), "", "PEM block type must be CERTIFICATE REQUEST"))
		} else if _, err := x509.ParseCertificateRequest(block.Bytes); err != nil {
			errs = append(errs, field.Invalid(spec.Child("request"), "", err.Error()))
		}
		if !strings.Contains(o.Spec.SignerName, "/") {
			errs = append(
				errs,
				field.Invalid(
					spec.Child("signerName"),
					o.Spec.SignerName,
					"must be a fully qualified domain and path of the form 'example.com/signer-name'",
				),
			)
		}
		if len(o.Spec.Usages) == 0 {
			errs = append(errs, field.Required(spec.Child("usages"), "usages must not be empty"))
		}
		if e := o.Spec.ExpirationSeconds; e != nil && *e < 600 {
			errs = append(
				errs,
				field.Invalid(
					spec.Child("expirationSeconds"),
					*e,
					"may not specify a duration less than 600 seconds (10 minutes)",
				),
			)
		}
	case *admregv1.ValidatingAdmissionPolicy:
		errs = append(errs, validatePolicy(o)...)
	case *rbacv1.ClusterRoleBinding:
		if o.RoleRef.Name == "" {
			errs = append(errs, field.Required(field.NewPath("roleRef", "name"), ""))
		}
	case *rbacv1.RoleBinding:
		if o.RoleRef.Name == "" {
			errs = append(errs, field.Required(field.NewPath("roleRef", "name"), ""))
		}
	}
	return errs
}

// Every expression of a policy must compile, as in kube-apiserver.
func validatePolicy(p *admregv1.ValidatingAdmissionPolicy) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	compiler, err := celplugin.NewCompositedCompiler(
		environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()),
	)
	if err != nil {
		return field.ErrorList{field.InternalError(spec, err)}
	}
	decl := celplugin.OptionalVariableDeclarations{HasParams: p.Spec.ParamKind != nil, HasAuthorizer: true}
	report := func(at *field.Path, r celplugin.CompilationResult) {
		if r.Error != nil {
			errs = append(errs, field.Invalid(at, r.ExpressionAccessor.GetExpression(), r.Error.Error()))
		}
	}
	for i, v := range p.Spec.Variables {
		report(
			spec.Child("variables").Index(i).Child("expression"),
			compiler.CompileAndStoreVariable(
				&validating.Variable{Name: v.Name, Expression: v.Expression}, decl, environment.NewExpressions,
			),
		)
	}
	for i, v := range p.Spec.MatchConditions {
		report(
			spec.Child("matchConditions").Index(i).Child("expression"),
			compiler.CompileCELExpression((*matchconditions.MatchCondition)(&v), decl, environment.NewExpressions),
		)
	}
	for i, v := range p.Spec.Validations {
		report(
			spec.Child("validations").Index(i).Child("expression"),
			compiler.CompileCELExpression(
				&validating.ValidationCondition{Expression: v.Expression}, decl, environment.NewExpressions,
			),
		)
		if v.MessageExpression != "" {
			report(spec.Child("validations").Index(i).Child("messageExpression"),
				compiler.CompileCELExpression(
					&validating.MessageExpressionCondition{MessageExpression: v.MessageExpression},
					celplugin.OptionalVariableDeclarations{HasParams: decl.HasParams},
					environment.NewExpressions,
				))
		}
	}
	if len(p.Spec.Validations) == 0 && len(p.Spec.AuditAnnotations) == 0 {
		errs = append(
			errs,
			field.Required(spec.Child("validations"), "validations or auditAnnotations must contain at least one item"),
		)
	}
	if p.Spec.MatchConstraints == nil || len(p.Spec.MatchConstraints.ResourceRules) == 0 {
		errs = append(errs, field.Required(spec.Child("matchConstraints", "resourceRules"), ""))
	}
	return errs
}

func (s strategy) ValidateUpdate(ctx context.Context, o, old runtime.Object) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaAccessorUpdate(
		sure(meta.Accessor(o)), sure(meta.Accessor(old)), field.NewPath("metadata"),
	)
	if s.part != whole {
		return errs
	}
	errs = append(errs, s.Validate(ctx, o)...)
	switch o := o.(type) {
	case *corev1.Pod: // of a pod's spec only images, the deadline, tolerations and scheduling gates may change
		was := old.(*corev1.Pod).DeepCopy().Spec
		for _, pair := range [][2][]corev1.Container{
			{was.Containers, o.Spec.Containers}, {was.InitContainers, o.Spec.InitContainers},
		} {
			for i := range pair[0] {
				if i < len(pair[1]) {
					pair[0][i].Image = pair[1][i].Image
				}
			}
		}
		was.ActiveDeadlineSeconds = o.Spec.ActiveDeadlineSeconds
		was.Tolerations, was.SchedulingGates = o.Spec.Tolerations, o.Spec.SchedulingGates
		if !equality.Semantic.DeepEqual(was, o.Spec) {
			errs = append(
				errs,
				field.Forbidden(
					field.NewPath("spec"),
					"of a pod only images, activeDeadlineSeconds, tolerations and schedulingGates may be changed",
				),
			)
		}
	case *rbacv1.ClusterRoleBinding:
		if o.RoleRef != old.(*rbacv1.ClusterRoleBinding).RoleRef {
			errs = append(errs, field.Invalid(field.NewPath("roleRef"), o.RoleRef, "cannot change roleRef"))
		}
	case *rbacv1.RoleBinding:
		if o.RoleRef != old.(*rbacv1.RoleBinding).RoleRef {
			errs = append(errs, field.Invalid(field.NewPath("roleRef"), o.RoleRef, "cannot change roleRef"))
		}
	}
	return errs
}
